"""Settings of the process itself, for workers and servers: memory allocator, interpreter lock, logs.

| file | decides |
|---|---|
| `malloc` | from which size on freed memory goes back to the system at once |
| `gil` | how long a thread may keep the interpreter lock |
| `logs` | how log lines are written |
"""
