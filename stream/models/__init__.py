"""The model: flat tables, code that learns into them, and code that makes lists from them.

A model is a set of flat tables (`schema`). `learning` writes them, one batch of events at a time; `model` reads them
and answers queries. Each source of recommendations is a file of `sources` with its `learn` and its `score`; `ranking`
unites what the sources propose and orders it. Nothing in this folder reads a clock, the environment or the network, and
nothing draws a random number whose seed is not an argument or a setting.

| file | decides |
|---|---|
| `source_registry` | which installed packages add sources of their own |
| `source_names` | which sources there are, in which order, and the half-lives of popularity |
| `feature_names` | names and places of every feature the ranker sees |
| `state_names` | which names a state carries, and which states this program can't read |
| `settings` | what may be set about a model |
| `schema` | tables, their rows and their capacities |
| `kernels` | how hot loops are compiled, and the data structures they share |
| `event_codes` | numbers of the kinds of events, and of the ways in which one is learned |
| `batch` | what a batch of events is to a model |
| `workspace` | the tables and scratch arrays as kernels take them |
| `sources` | what each source learns and scores |
| `ranking` | candidates, features and their order |
| `entities` | life of the rows of items, visitors and sessions |
| `had` | what a visitor bought and disliked, apart from their last events |
| `outcomes` | models of what becomes of a click: purchases and ratings |
| `drift` | quality over time, and when it changes |
| `learning` | what happens to each event of a batch |
| `merging` | how the tables of several shards become one model |
| `migration` | how a state is read that has other capacities, sources or features |
| `query` | what a list can be asked for, and what a list is |
| `model` | which list a query gets |
| `estimator` | the model as a recommender of River |
"""
