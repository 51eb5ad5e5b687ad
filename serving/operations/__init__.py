"""Routes for operators and their tools: health, metrics, versions and rollbacks.

| file | decides |
|---|---|
| `health` | when a server counts as starting, ready or degraded |
| `versions` | which operations on versions there are over HTTP |
"""
