"""Identity: whether a topic is the one that it was when its records were learned.

A topic that is deleted and created again has the same name, and answers fetches at the old offsets too, once it is long
enough. Kafka gives each topic that is created an id; brokers without ids are known by a record that they still have.

| file | decides |
|---|---|
| `errors` | the two kinds of errors |
| `fetch_by_id` | how fetches name topics by their ids, so that no other topic's records are taken for theirs |
| `topic_ids` | how identities are looked up, which broker is asked, and what is raised for another topic |
| `witness` | which record stands for a log without an id, and when another one takes its place |
"""
