"""Recovery: a shard is claimed, restored from its newest version, and started at the offsets of that state.

| file | decides |
|---|---|
| `checks` | which models, clusters and stores are refused before a shard is claimed |
| `restore` | what is restored, also if Redis has lost a part of it |
| `start` | at which offset each log starts, and what counts as lost |
| `causes` | the reason and the remedy of each error |
| `errors` | the kinds of errors |
"""
