"""Names of one model's keys in Redis. This file decides them; nothing else builds a key, apart from the scripts.

One hash tag, the model's name, keeps all keys of a model on one node of a Redis Cluster, so that one script can write
them together.

| key | type | holds |
|---|---|---|
| `…:store` | hash | `format`, `lineage`, `lineage_run`, `number_floor`, `shards` (their number, once known) |
| `…:merging` | hash | `token`, `worker` of the command that merges the shards now; it expires if the command dies |
| `…:retired` | set | numbers of shards that were merged into others and whose states are still kept |
| `…:latest` | hash | `number`, `id` of the newest version |
| `…:versions` | sorted set | numbers of all kept versions by time of creation |
| `…:version:<number>` | hash | `id`, `manifest` (JSON), `shards` (JSON: partition to state) |
| `…:ids` | hash | id to number |
| `…:aliases` | hash | name to number |
| `…:alias-history` | list | who moved which alias when and why, newest first (JSON) |
| `…:keys` | hash | id of a key of the HTTP API to its record (JSON), which has the SHA-256 of its text |
| `…:keys-used` | hash | id of a key to the time of its last use |
| `…:limit:<name>` | hash | millionths left of a limit (`level`) at a time (`at`), or what was used on a day (`spent`) |
| `…:limit:guesses-noted` | string | there while the last record of guessed keys is younger than ten minutes |
| `…:audit` | stream | administrative acts and readings of personal data: `act` (JSON) |
| `…:shard:<p>:fence` | hash | `epoch`, `token`, `worker`, `claimed_at`, `redis_run`, `stopped`, `doubt` |
| `…:shard:<p>:report` | hash | `worker`, `epoch`, `report` (JSON): what a worker last said of the shard |
| `…:reports` | sorted set | shards by the time of their last report, by Redis's clock |
| `…:shard:<p>:head` | hash | `seq`, `digest` of the newest state; `begins_after` if there is none on purpose |
| `…:shard:<p>:states` | sorted set | numbers of all kept states by time of creation |
| `…:shard:<p>:state:<seq>` | hash | one state: what it is, and the chunks that encode it |
| `…:chunk:<name>` | string | at most a MiB of tables or journal |

`announcements` names the channel on which publishes and moves of aliases are announced.
"""

from __future__ import annotations


class Keys:
    """Key names of one model. All start with `prefix`, which is what scripts are given.

    >>> Keys("shop").state(0, 12)
    'corrente:{shop}:shard:0:state:12'
    """

    def __init__(self, model: str) -> None:
        self.prefix = f"corrente:{{{model}}}:"
        self.store = self.prefix + "store"
        self.latest = self.prefix + "latest"
        self.versions = self.prefix + "versions"
        self.ids = self.prefix + "ids"
        self.aliases = self.prefix + "aliases"
        self.alias_history = self.prefix + "alias-history"
        self.announcements = self.prefix + "announcements"
        self.merging = self.prefix + "merging"
        self.retired = self.prefix + "retired"
        self.keys = self.prefix + "keys"
        self.keys_used = self.prefix + "keys-used"
        self.audit = self.prefix + "audit"

    def limit(self, name: str) -> str:
        return f"{self.prefix}limit:{name}"

    def version(self, number: int) -> str:
        return f"{self.prefix}version:{number}"

    def shard(self, partition: int) -> str:
        return f"{self.prefix}shard:{partition}:"

    def fence(self, partition: int) -> str:
        return self.shard(partition) + "fence"

    def head(self, partition: int) -> str:
        return self.shard(partition) + "head"

    def states(self, partition: int) -> str:
        return self.shard(partition) + "states"

    def state(self, partition: int, seq: int) -> str:
        return f"{self.shard(partition)}state:{seq}"

    def chunk(self, name: str) -> str:
        return f"{self.prefix}chunk:{name}"
