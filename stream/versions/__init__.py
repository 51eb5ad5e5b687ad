"""Versions in Redis: every state that ever served, named, stored atomically, read back bit for bit.

A **version** is an immutable manifest over all shards. Each shard's **state** is encoded as in a video: a **keyframe**
now and then, **deltas** in between. **Aliases** are names that can be moved: serving answers from `pinned` if it is
set, else from `latest`; a rollback is a pin.

| file | decides |
|---|---|
| `store` | the interface that workers, servers and commands use |
| `publishing` | when a publish is accepted, repeated or refused |
| `reading` | how a state is put together from a keyframe and deltas, and which names of features it may have |
| `lookup` | how a number, alias or id finds a version |
| `aliases` | which names an alias may have, and the history of moves |
| `announcements` | the form of the hint that something moved |
| `manifest` | what a version is, and its id |
| `salt` | what a manifest says about the visitor salt, and which salts are good enough |
| `diff` | what counts as a difference between two versions |
| `retention` | which versions are kept |
| `compaction` | when states are folded and encoded anew |
| `errors` | which errors callers can tell apart |
| `cli` | the commands of `corrente versions` |
| `resharding` | how many shards a model has, and how they become fewer |
| `changed_settings` | how a model goes on, or begins anew, with other settings |
| `damage` | which parts are lost, and how learning goes on without them |
| `storage` | low-level Redis: keys, scripts, chunks, records, reports of workers |
"""

from stream.versions.aliases import CANARY, LATEST, PINNED, AliasMove
from stream.versions.announcements import Announcement
from stream.versions.errors import (
    CorruptVersion,
    Fenced,
    JournalGone,
    LostData,
    ShardsMerging,
    StaleParent,
    UnknownFormat,
    UnknownVersion,
    VersionError,
    WorkersRunning,
    WrongAlias,
    WrongNames,
    WrongSalt,
    WrongShardCount,
)
from stream.versions.manifest import ShardState, Version
from stream.versions.publishing import Claim
from stream.versions.retention import Policy
from stream.versions.salt import redacted, salt_problem, settings_of
from stream.versions.storage.reports import ShardReport, StoppedShard
from stream.versions.store import VersionStore

__all__ = [
    "CANARY",
    "LATEST",
    "PINNED",
    "AliasMove",
    "Announcement",
    "Claim",
    "CorruptVersion",
    "Fenced",
    "JournalGone",
    "LostData",
    "Policy",
    "ShardReport",
    "ShardState",
    "ShardsMerging",
    "StaleParent",
    "StoppedShard",
    "UnknownFormat",
    "UnknownVersion",
    "Version",
    "VersionError",
    "VersionStore",
    "WorkersRunning",
    "WrongAlias",
    "WrongNames",
    "WrongSalt",
    "WrongShardCount",
    "redacted",
    "salt_problem",
    "settings_of",
]
