"""Reading of settings: addresses, files and tables that people write, checked before anything is started.

Nothing here knows which settings there are; `stream.settings` hands the list in.

| file | decides |
|---|---|
| `errors` | how a wrong setting is reported |
| `redis_address` | which Redis addresses there are, and what each part of one means |
| `rows` | what the table of settings says of each |
| `redaction` | which parts of a text are secret |
| `messages` | how a value that doesn't fit is reported |
| `nearest` | when a name is suggested, and when a value is left out of a message |
| `sources` | which variables there are beside the settings' own, and how a file with one value is read |
| `settings_file` | how a TOML file of settings is read, and what is said of a mistake in it |
"""
