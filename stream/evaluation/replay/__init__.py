"""Replay: a history from a file, event by event through a model, with each event tested before it is learned.

The same events, from a file here or from Kafka in a worker, leave the same tables behind; a twin test compares them
byte by byte.

| file | decides |
|---|---|
| `history` | which rows of a file are kept, and which visitor each event counts for |
| `notes` | what is said of ids, quantities, kinds and ratings beside the figures |
| `learner` | the interface between the replay and whatever is evaluated |
| `event_batch` | the keys, kinds and weights under which the model gets the events of a history |
| `replay_kernel` | the compiled loop: test, train the ranker, learn, for each event of a span |
| `model_learner` | the default model as a learner, in one shard |
| `sharded_learner` | several shards that learn apart, and their merge that answers |
| `factory` | which of the two learners a number of shards needs |
| `own_source` | a source in plain Python, judged alone and in a blend with the model |
| `latency` | how the duration of single tests is measured |
| `run` | `evaluate`: spans, progress, and the result |
"""
