"""Drift: how well the rankings do, measured on every test, and when that changes.

| file | decides |
|---|---|
| `prequential` | how ranks of tests are stored, and what is measured over which window |
| `detectors` | when a ranking counts as having changed, and what is reported of it |
"""
