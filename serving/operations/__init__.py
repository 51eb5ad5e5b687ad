"""Routes beside the lists: health, metrics, versions and rollbacks for operators, and the main parameters for visitors.

| file | decides |
|---|---|
| `health` | when a server counts as starting, ready or degraded |
| `versions` | which operations on versions there are over HTTP |
| `transparency` | which words say what decides the lists, and how the page looks |
"""
