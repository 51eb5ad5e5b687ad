"""`corrente quickstart`: the whole system in the background of one machine, for a first hour with it.

A supervisor process holds the embedded broker, and Redis, worker and server are its children: they end with it, however
it ends. Commands find it by a lock and a record in a folder of the user. Nothing that it learns outlives it.

| file | decides |
|---|---|
| `cli` | the options of `corrente quickstart`, what it prints, and its exit codes |
| `record` | the folder, the lock and the record by which commands find the running system |
| `session` | how a running system is started, followed, described to a shell and ended by commands |
| `supervisor` | the life of the process that holds the system |
"""
