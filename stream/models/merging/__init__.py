"""Merging: the tables of several shards as the tables of one model.

Each shard has learned from its own visitors and numbers its rows by itself. What answers requests is the merge of all
of them: it ranks as one shard would that had learned every event. It can be shown events (they become history), but it
never learns.

| file | decides |
|---|---|
| `merge` | in which order the tables are merged |
| `numbering` | which rows of a shard are read, and which row each item, visitor and session has in the merge |
| `runs` | how runs of rows are found in the shards' pools and laid out in the merged pool |
| `items` | what is known of an item, and its name |
| `counts` | how events, decayed counts and remembered items add up |
| `pairs` | how pair counts add up, and which pairs of an item stay |
| `bought` | how baskets add up, and which items that are bought together stay |
| `sessions` | in which order sessions are neighbours, and which sessions an item is found by |
| `histories` | which events a visitor's history holds |
| `top` | which items are in the top lists |
| `weights` | how the rankers and the vectors are averaged |
| `rehearsal` | which events the merged ranker learns from once more |
| `learning_state` | how the merge becomes the start of a shard that learns |
"""
