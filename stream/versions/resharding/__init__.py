"""Resharding: the number of a model's shards, and the command that makes them fewer.

A model keeps the number of its shards. A worker that is set to another number is refused, because it would learn some
events twice and others never. Several shards become fewer by a merge: all of them are claimed, which fences their
workers, the merged states are written, and one script puts them in the place of all others.

| file | decides |
|---|---|
| `shard_count` | how many shards a model has, and which number of a worker is refused |
| `model_claim` | how all shards of a model are claimed and replaced at once |
| `merge_shards` | the steps of `corrente versions merge-shards` |
"""
