"""Documents of the catalogue through Kafka: compacted topics with full documents of items and of users.

One worker of a model reads both topics, beside its shards and apart from them: no offset of a shard, no state and no
version holds anything of them. Documents are written to Redis by the function that HTTP uses, together with the place
in the log, in one step. So each document is written once, whichever worker reads, and a restart goes on at that place.

| file | decides |
|---|---|
| `document_records` | how a record becomes a document, and which records are dead letters |
| `places` | where reading goes on in a log that was deleted, cut or created again |
| `reader` | which worker reads, in which steps, and what happens if Kafka or Redis does not answer |
"""
