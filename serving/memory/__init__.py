"""Memory that requests read: several versions side by side at the cost of their differences, in one process or shared.

Tables lie in an *arena* of rows; each version has an *index* into it. Nothing here knows models, Redis or HTTP.

| file | decides |
|---|---|
| `arena` | how a version of several tables is written, whole or as changes |
| `table_arena` | where a row lies, and which rows are free to be written |
| `row_index` | when an arena row is free |
| `row_copies` | how a row is written while other versions go on reading the old one (compiled loops) |
| `pages` | how memory of one process is requested, in small or large pages |
| `shared_segments` | how memory that several processes read is made, found and mapped |
"""
