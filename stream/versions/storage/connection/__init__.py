"""Connections to Redis: one server, the master that sentinels name, or the node of a cluster that has the model.

| file | decides |
|---|---|
| `client` | the options of every client; nothing else makes one |
| `connections` | which answers mean that another server has to be asked, and what is said of a refused password |
| `discovery` | how sentinels and cluster nodes are asked for the server that has the model |
"""
