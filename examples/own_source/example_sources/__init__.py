"""Sources of recommendations for Corrente.

| file | decides |
|---|---|
| `weekday` | items that are wanted on this day of the week |
"""
