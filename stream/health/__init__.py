"""The worker's health: why a partition stands still, what is rejected, and the answers for probes.

| file | decides |
|---|---|
| `failures` | which errors say something about a record |
| `progress` | what counts as progress, and how pauses grow |
| `standing` | the reasons for which a partition stands still, and what mends them |
| `rejections` | how rejected records are counted and logged |
| `reporting` | how often servers get a report, and what it leaves out |
| `endpoints` | what `/health/live`, `/health/ready` and `/metrics` answer |
| `values` | what is said of unknown kinds, and of ratings that do not use their scale |
"""
