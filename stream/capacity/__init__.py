"""Capacity planning: the memory that a planned number of visitors and items takes, from the sizes of rows.

| file | decides |
|---|---|
| `memory_plan` | how memory is added up |
| `catalogue_plan` | how the memory of the catalogue is added up |
| `cli` | how the plan looks in a terminal: `corrente size` |
"""
