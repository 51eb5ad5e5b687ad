"""Events in, models learn, versions out: the learning half of Corrente.

`stream` owns the contracts: the form of an event (`events`, `values`), the tables of a model (`state`, `models`), how
one partition learns (`shard`), and how its states become versions (`versions`). The rooms `state`, `ingest`, `models`,
`catalogue`, `shard`, `evaluation` and `profile` are pure: they read no clock, environment, network or chance. The rooms
`access`, `catalogue_store`, `catalogue_topics`, `configuration`, `doctor`, `health`, `kafka`, `runner`, `standby`,
`tail`, `versions` and `runtime` are the edge. `stream` imports neither `serving` nor `simulators`.

| file | decides |
|---|---|
| `access` | which keys there are, what each opens, and what is kept of every administrative act |
| `access_settings` | settings about keys and limits, and the form of a key |
| `capacity` | how much memory a model of given size takes |
| `catalogue` | what a shop may say about items and users, and which items a filter lets through |
| `catalogue_store` | how the catalogue is kept in Redis, followed by servers and imported from files |
| `catalogue_topics` | how documents of the catalogue come through Kafka |
| `cli` | how the console command `corrente` finds its commands |
| `doctor` | what `corrente doctor` checks of an installation |
| `configuration` | how addresses, files and tables of settings are read, and what is secret in them |
| `evaluation` | how good a model would have been on events of the past |
| `events` | which fields, values and ids an event may have |
| `health` | what is said of a partition that stands still, and of rejected records |
| `ingest` | how records are decoded, and in which order those of several topics are learned |
| `kafka` | how records come from Kafka, and where those go that could not be learned |
| `kafka_settings` | topics of documents, and which settings of connections to Kafka make sense together |
| `models` | how events are learned and lists are ranked |
| `profile` | what a file of events has in it, before anything is learned |
| `registry` | how schemas of records are asked for at a schema registry |
| `registry_settings` | settings of a schema registry, and which of them make sense together |
| `runner` | when shards are claimed, restored, published and dropped |
| `runtime` | memory allocator, lock switching and logs of a process |
| `service_links` | which variables are left out because Kubernetes set them for a Service |
| `setting_checks` | which names of topics, groups and fields are refused |
| `settings` | which settings there are |
| `settings_cli` | the command `corrente settings` |
| `shard` | what a batch of records does to the state of one partition |
| `standby` | how a worker without a shard gets ready to take one over |
| `start_checks` | what is checked of model and Redis before a worker joins its group |
| `state` | the form of tables, deltas, journals and checkpoints |
| `tail` | what `corrente events tail` shows of the records that arrive |
| `values` | which texts and numbers are a time, a number, a rating, a consent or a bot |
| `versions` | how states become versions in Redis, and how they are read back |
| `worker` | what starts and ends when in a worker process |
| `worker_cli` | the command `corrente worker` |
"""
