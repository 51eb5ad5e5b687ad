"""Measures of tests: from the rank of each tested item to figures, and to the significance and structure of figures.

Everything here is a function of columns, so it is the same for every model. Nothing in this room reads a file, replays
an event or draws a table.

| file | decides |
|---|---|
| `ranks` | the rank of a target among its candidates, with ties and misses |
| `metrics` | hit rate, reciprocal rank and discounted gain of a rank, and figures beyond accuracy |
| `significance` | whether a difference between two rankings is more than noise |
| `prior_counts` | how often and how long ago something had happened before an event |
| `result` | the tests of one evaluation, its figures, and the JSON report of `corrente evaluate` |
| `slices` | into which groups tests are cut, and how far groups of visitors are apart |
| `curves` | the hit rate over time, and where it changed |
"""
