"""One shard: the learning state of one partition, records in, tables out.

A pure room: it reads no clock, environment, network or chance. The same records in the same batches, with the same
sample rates, give the same tables bit for bit, in a worker as in an evaluation. `stream.runner` feeds shards from Kafka
and publishes their checkpoints; `stream.ingest` decides the order of records before a shard sees them.

| file | decides |
|---|---|
| `batches` | what a shard hands from decoding to learning, and what it says of a learned batch |
| `counters` | the names of counts, and the number of learned events that they stand for |
| `isolation` | in what portions records are learned after a failure, and which one is isolated |
| `logs` | when two logs of records are the same, and how far each one is learned |
| `merging` | what becomes of several shards that are merged into one |
| `outcomes` | the outcome of a record, also of one with several events, and how both are counted |
| `sampling` | which events of a batch are tested before they are learned |
| `shard` | what a batch of records does to the state, and what a checkpoint holds |
"""
