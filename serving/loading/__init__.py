"""Versions in memory: loaded from the store by one thread, or mapped from another process that has loaded them.

A server of one process has a `Loader`. With several processes one of them loads (`Loader` and `SnapshotServer`), and
those that answer map its memory (`SnapshotClient`). Errors are those of `stream.versions` and redis-py; nothing here
knows HTTP.

| file | decides |
|---|---|
| `served` | what a request may ask of a loader |
| `loader` | which versions are in memory and which one answers |
| `hold_back` | when a version waits because it has learned less than the one that answers |
| `learning` | how servers learn that a shard is not learned at present |
| `version_memory` | how a version is loaded and which versions share memory |
| `shard_memory` | which hints accompany a shard's rows, and how a model is made of several shards |
| `warm_up` | what is compiled before a server is ready |
| `shared` | when a process maps and releases versions of the loading process, and its behaviour without that process |
| `shared_server` | which versions the loading process sends to the others, and how long it holds them |
| `link` | when a process releases a version, and when its connection to the loading process is closed |
| `outbox` | which thread waits for a process that doesn't read |
| `messages` | the messages between these processes, and how errors cross |
"""
