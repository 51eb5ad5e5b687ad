"""The worker's shards at work: claimed, restored, fed from Kafka, published as versions.

An edge room around the pure `stream.shard`. `task` holds the life of one shard in this process, and the files beside it
hold its parts; each takes its consumer, store, clock and metrics from `resources`, so that tests replace them without a
broker or a Redis. `stream.worker` creates a runner for every shard that Kafka's assignment makes complete.

| file | decides |
|---|---|
| `assignment` | which topic-partitions make up a shard |
| `clock` | the time of the runners, and how they wait |
| `housekeeping` | when lag and rates are reported, and when old versions are compacted |
| `lag` | how lag, learning rate and time to catch up are estimated |
| `metrics` | names, labels and buckets of the worker's Prometheus metrics |
| `next_batch` | when the next batch is decoded, and what it waits for |
| `open_shard` | the state of a shard between its claim and its reset, and which fetches it accepts |
| `publisher` | when checkpoints are taken and published, and in which order |
| `recovery` | how a shard is claimed and restored, and at which offsets it starts |
| `resources` | threads, connections and counters that the shards of one worker share |
| `rolling_max` | which recent maximum a monitor sees |
| `task` | when a shard is opened, learned from, halted and dropped |
| `sampling_budget` | which share of the events is tested before it is learned |
| `warmup` | which code is compiled or imported before it is needed |
"""
