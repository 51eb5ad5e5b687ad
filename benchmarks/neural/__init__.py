"""Neural models trained offline, beside the default configuration on the same tests of a file.

`python -m benchmarks.neural FILE` reads a file as `corrente evaluate` does, trains a GRU and SASRec, ranks all known
items for the events that `corrente evaluate` tests, and compares the models test by test. PyTorch is in the extra
`neural` and is imported when training begins. Method and figures are in `docs/explanation/quality.md`. Imports go one
way, from the bottom of this table to its top.

| file | decides |
|---|---|
| `sequences` | which events stand in front of which target, in training and in a test |
| `windows` | when a network is trained anew, and which tests follow |
| `ranking` | which items compete in a test, and the most popular ones |
| `networks` | layers, loss and training of the GRU and SASRec |
| `comparison` | one comparison from a history to a report: rounds, best epochs, differences |
| `cli` | the options, and what is printed |
| `__main__` | the start of `python -m benchmarks.neural` |
"""
