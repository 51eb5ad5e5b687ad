"""The schema registry: each schema is fetched once, by its id, and stays in memory from then on.

| file | decides |
|---|---|
| `errors` | which answers mean that a registry can't be used now, and which that it has no such schema |
| `client` | how a registry is asked, and how its answers are read |
| `lookup` | when schemas are looked up and again, and what is remembered of those that aren't there |
"""
