"""Ranking: from the history of a visitor to an ordered list of items.

Every source scores the items it touches (`collect`); the best of each are united (`propose`); each candidate gets the
values of *all* sources and features of the item and of the visitor's own history with it (`features`); two rankers,
champion and challenger, score the candidates, and one of them orders the list. The same code ranks when an event is
tested, when shards are merged and when a request is answered.

| file | decides |
|---|---|
| `own_events` | what the visitor's own events have added to the counts |
| `collect` | in which order the sources score |
| `propose` | which items become candidates |
| `allowed` | which items are popular among those that a list may hold |
| `features` | how values become features |
| `item_bias` | how often an item was chosen, against how often that was expected |
| `ranker` | how the champion scores and learns |
| `challenger` | how the challenger scores and learns |
| `rank` | the order of these steps, and their options |
| `influence` | which features make up a parameter, and how much each parameter weighs |
| `explanation` | how a score is taken apart into features, sources and items of the history |
| `answer` | how candidates become a list, and what fills a short one |
| `list_call` | what a request hands to compiled code, and where its list lies |
"""
