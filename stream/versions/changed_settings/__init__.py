"""Changed settings: a model goes on with larger capacities, or begins anew with settings that it can't go on with.

| file | decides |
|---|---|
| `layouts` | which shapes the tables have into which a state is read |
| `new_lineage` | how a model begins anew while servers answer from what it was |
"""
