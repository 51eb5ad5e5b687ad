"""The catalogue, measured: lists under filters, and the time until a change is in every list.

| file | decides |
|---|---|
| `filters` | what a filter costs a list, however few items it lets through |
| `changes` | the time from a change of an item to the lists of every server process |
"""
