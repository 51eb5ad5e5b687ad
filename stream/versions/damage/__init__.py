"""Damage: parts of versions that Redis has lost, what is still whole, and how learning goes on from there.

Redis loses single keys if it evicts, if a person deletes some, or if a copy was cut short. A lost part makes the states
unreadable that need it, and no others. A worker that can't read the newest state of its shard looks again ten seconds
later. If the part is still missing, the shard goes on from the newest state that is whole, in a new lineage of
versions, and learns again what Kafka has from there on.

| file | decides |
|---|---|
| `suspicion` | when a state counts as damaged |
| `holes` | which states are whole, and which keyframes can be done without |
| `healing` | how a shard goes on from an older state |
| `index` | which keys are rebuilt from others |
"""
