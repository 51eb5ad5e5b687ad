"""Generated parts of the reference pages: tables and examples made from the code that they describe.

A page of `docs/reference` marks each generated part by `<!-- generated: NAME -->` and `<!-- end -->`. `make reference`
writes all of them, and `tests/docs/test_reference.py` compares them with the code. Nothing here is part of the wheel.

| file | decides |
|---|---|
| `__main__` | the command behind `make reference` |
| `sections` | which parts are generated, and how they are put into pages |
| `markdown` | how tables, lists and docstrings look in Markdown |
| `settings` | groups, units and limits of settings |
| `metrics` | tables of the worker's and the server's metrics |
| `http` | routes with parameters, bodies, answers and examples |
| `http_errors` | the list of error documents |
| `http_examples` | requests that a running application answers for the pages, and parts that vary |
| `commands` | every command of `corrente` with its arguments and options |
| `tables` | the schema of a model's tables |
| `events` | fields, kinds, limits and rejections of events, and the form of a dead letter |
| `python` | signatures and docstrings of the public Python interface |
"""
