"""Events on their way in: from Kafka records or from files to arrays, in the order in which they are learned.

Nothing in this room connects to Kafka, reads a clock or changes a model. Bad records and rows are never dropped
silently: a record becomes a `Rejection`, and a row is reported with its line number.

| file | decides |
|---|---|
| `mapping` | how producers' records of any form become events: a room of its own |
| `records` | the fields of a Kafka record, and of the rejection of one that can't be learned |
| `schemas` | how records in Avro, or with a schema, become the same events as JSON: a room of its own |
| `origins` | how the topic-partitions of a shard are called, and their order |
| `merge` | in which order the records of several topic-partitions are learned, and how many wait |
| `decoding` | which records of a batch are bad, and the weight of an event |
| `record_checks` | the reason that the rejection of a bad record gives |
| `id_keys` | under which keys ids are learned |
| `counted` | which events are counted only, because their visitors refuse profiling |
| `left_out` | which good events are not learned, on purpose |
| `kinds` | which kinds of events are known, and which known one is meant by another name |
| `files` | how files of events are read: a room of its own |
"""
