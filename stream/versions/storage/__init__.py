"""Low-level Redis of the version store: names of keys, atomic scripts, and tables as chunks of at most a MiB.

Programs use `stream.versions.store` and `stream.access`. Of what is here, other rooms import only the intervals and
records of `reports` and `limit_scripts`.

| file | decides |
|---|---|
| `namespace` | how the parts of the store reach one model's part of a Redis |
| `keys` | the name of every key |
| `requests` | names and order of the arguments and answers of scripts |
| `scripts` | which steps are atomic |
| `access_scripts` | which steps of changing keys are atomic, and how long acts are kept |
| `limit_scripts` | how the bucket of a limit fills, and when it expires |
| `heal_scripts` | which steps of healing are atomic |
| `reshard_scripts` | which steps of merging shards are atomic |
| `chunks` | how tables and journals are split, checked and encoded |
| `records` | the form of a state's record |
| `reports` | how a worker reports a shard that stands still, and when a shard counts as having no worker |
| `connection` | how a client finds the right Redis, and which answers mean that another server has to be asked |
| `mget_into` | how chunks get from the connection into existing memory |
| `redis_checks` | which settings of a Redis are dangerous |
"""
