"""Migration: tables of a state as this program and its settings want them.

A state was learned with some capacities, sources, rankings and features. A worker that goes on from it may have larger
capacities or other names. Then tables are made anew with every row, and every number stays with its name. A server
reads states of any capacity as they are, and only brings names into this program's order.

| file | decides |
|---|---|
| `layout` | which tables a state has, and what of it a state says |
| `growth` | which capacities and settings a state can go on with |
| `rows` | in which row of a larger table each old row is |
| `columns` | where a name's numbers are in each table |
| `first_numbers` | what a name begins with that a state has never learned |
| `migrate` | what changes between a state and this program, and which blocks are published then |
"""
