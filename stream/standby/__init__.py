"""A worker without a shard: ready to take one over.

While other workers have every shard, a standby follows the versions of the model, so that it has nearly everything in
memory when one of them is gone: it claims the shard, reads what changed in the last second, and goes on. The claim in
Redis decides as always; a standby that is wrong about anything loads the whole state.

| file | decides |
|---|---|
| `follower` | which states are kept in memory, and how a shard takes one over |
| `pace` | how often versions are followed, so that it costs little |
"""
