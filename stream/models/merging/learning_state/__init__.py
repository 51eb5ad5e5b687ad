"""Merges that learn: the tables of several shards as the tables of one shard that goes on learning.

A merge that answers requests is made anew with every version and needs no more than answers do. The tables here are the
start of a shard of their own. They have the capacities that the settings say, so the weakest rows stay behind if the
shards have more of them together. Pairs lie in sets, where learning looks for them. Everything is there that only
learning reads: event ids, the reservoir, tests, drift, clicks that wait, the stream clock.

| file | decides |
|---|---|
| `merge_state` | in which order the tables are merged |
| `bounds` | which items, visitors and sessions stay if the shards have too many |
| `pair_sets` | in which set each pair lies, and which pairs stay if a set is too small |
| `rings` | in which order event ids, recent events and tests of several shards stand in one ring |
| `outcome_models` | how conversion, ratings and counts of drifts are merged |
| `clock` | which stream clock the merge goes on with |
"""
