"""Benchmarks: every figure in the README and in the documentation is measured here, beside a baseline in the same run.

`corrente bench LEG` runs one leg; `--json` prints its result as one JSON object. A leg starts the programs as they are
shipped, in processes of their own, and looks at them from outside. `python -m benchmarks.neural FILE` compares the
quality of lists with neural models. `README.md` in this folder describes what each of them measures and how.

| file | decides |
|---|---|
| `cli` | the commands of `corrente bench`, their options and how results are printed |
| `harness` | servers, processes, load and the machine's description, shared by all legs |
| `baselines` | the programs that figures are compared with |
| `legs` | what each leg measures |
| `neural` | how neural models trained offline are compared with the default configuration |
"""
