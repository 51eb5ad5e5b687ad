"""Settings of the process itself, for workers and servers: memory, interpreter lock, event loop, logs.

| file | decides |
|---|---|
| `collector` | when cycles are looked for, and how often |
| `compile_cli` | the command `corrente compile` |
| `malloc` | from which size on freed memory goes back to the system at once |
| `gil` | how long a thread may keep the interpreter lock |
| `kernel_folder` | where kernels are kept if neither the installation nor the user has a folder for them |
| `late_import` | how long an import is put off after the start |
| `loop_lag` | how the lag of an event loop is measured |
| `logs` | how log lines are written |
| `release` | what this program calls its own version |
| `tasks` | how one asyncio task ends another |
"""
