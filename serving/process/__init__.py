"""The server as operating-system processes: sockets, signals, forks, and the checks before the first request.

| file | decides |
|---|---|
| `server` | what a server does before its first and after its last request, as one process or as several |
| `supervisor` | when a process is started, restarted and ended |
| `salt_check` | with which salt of visitors' hashes a server starts |
"""
