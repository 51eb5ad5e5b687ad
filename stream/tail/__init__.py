"""Events as they arrive in Kafka, each with what a worker does with it.

An edge room: records are read from the topics beside the worker, without a consumer group, so nothing moves by that.
They are judged by the worker's own decoder.

| file | decides |
|---|---|
| `cli` | `corrente events tail`: options, and a line for each record |
| `reader` | which records are read, and from where on |
| `verdict` | what becomes of a record, its events, and what they lack |
"""
