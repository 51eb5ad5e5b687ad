"""The legs of `corrente bench`: a file is a command, and its `measure` returns the JSON object that is printed.

A result has `figures` (medians over the runs), `spread` (least and most), `ratios` (medians divided by medians, which
hold on other machines too) and the description of the machine.

| file | decides |
|---|---|
| `aging` | what a year of a shop leaves of hit rate, memory and numbers |
| `catalogue` | what a filter costs a list, and how fast a change of an item is in every list |
| `freshness` | the time from a click in Kafka to the lists that reflect it |
| `ingest` | events per second from Kafka to learned tables, beside three baselines |
| `in_turn` | the paces of several workers that learn at the same time, for `ingest` |
| `large_model` | memory and learning time of a model of a given size, in a process of its own for `scale` |
| `letters` | how fast bad records become dead letters, and how fresh good events beside them stay |
| `lists` | lists over HTTP, one at a time beside a constant route, and in batches beside bare scoring |
| `memory` | memory of servers with one and several processes under live traffic |
| `model` | learning and answering in one process |
| `overload` | how a server answers that gets more requests than it can answer |
| `partition_memory` | memory of a worker and a server with one partition and with twelve, for `scale` |
| `partitions` | hit rate of a history that is replayed into several partitions, beside one |
| `scale` | the cost of more workers, partitions, items and shards |
| `takeover` | the time until a worker that stands by has taken over from a killed one, for `scale` |
| `versions` | how long publishing holds learning, bytes of a history, time of a rollback |
"""
