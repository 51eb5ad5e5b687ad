"""Presentation of results: tables on a terminal or in a notebook, plots, and comparisons of saved results.

Figures come from `stream.evaluation.measures`; nothing here computes a new one except the comparison of two saved
reports, of which no single tests are left.

| file | decides |
|---|---|
| `tables` | the tables and sentences of one result, on a terminal and as HTML |
| `compare` | how two saved results are paired, and which figures have changed |
| `plot` | how curves are drawn, as PNG or as one HTML file |
"""
