"""Everything that speaks to Kafka on the worker's side.

An edge room: topics are checked and created here, records are fetched in whole fetches and handed to their owner,
offsets of published states are committed, and records that could not be learned are kept in a topic of dead letters. It
learns nothing: fetches go to the `PartitionOwner`, which is `stream.worker`.

| file | decides |
|---|---|
| `assignor` | which shards each worker of the group gets |
| `connection` | how clients reach Kafka, secured or not, and why one can't |
| `dead_letters` | the form of a dead letter, and how it is cut |
| `dead_letters_cli` | `corrente dead-letters list` and `replay` |
| `fetch` | what passes between the transport and the owner of the partitions |
| `group` | which members of the consumer group don't belong there |
| `identity` | whether a topic is the one that it was |
| `known_topics` | which topics are missing, and what follows from the terms of the group's leader |
| `letter_writer` | how dead letters are written until they are acknowledged, and which ones are lost |
| `record_maker` | which parts of a Kafka record are kept, and how many records of a fetch are taken at a time |
| `refusals` | the kinds of reasons for which a worker ends |
| `shard_count` | which number of shards fits the topics and the model |
| `topics` | which topics are checked and created at start |
| `transport` | how records travel from Kafka to the agents, and when a partition is fetched |
| `watch` | when topics and group are looked at, and what is waited out |
"""
