"""Access to the HTTP API: keys with scopes beside the model in Redis, and the trail of administrative acts.

A **key** is 256 random bits that a caller sends with each request. Redis has its SHA-256 and nothing else of it, so
no key can be read there. A **scope** names what a key opens. The **audit trail** keeps who did what, when, why and
from where. Servers read keys through this room (`serving.access`); people make and revoke them with `corrente keys`.

| file | decides |
|---|---|
| `scopes` | which scopes there are, and which of them are administrative |
| `keys` | the form of a key and of its record, and when a key is valid |
| `visitor_token` | which tokens of visitors hold, that a shop signs for its pages |
| `key_store` | how records of keys are read, made and changed in Redis |
| `lifecycle` | what making, rotating and revoking a key do to its record |
| `acts` | what is kept of an administrative act |
| `audit` | how acts are appended and read back |
| `limit_store` | how buckets of limits are reported, and how often guessed keys are recorded |
| `command_line` | how commands reach Redis, and who they say they are |
| `keys_cli` | the command `corrente keys` |
| `audit_cli` | the command `corrente audit` |
"""
