"""Versions: every state that ever served, named, stored atomically, read back bit for bit.

A **version** is an immutable manifest over all shards. Each shard's **state** is encoded like video: a **keyframe**
now and then, **deltas** in between. **Aliases** are names that can be moved: serving answers from `pinned` if it is
set, else from `latest`; a rollback is a pin.

| file | decides |
|---|---|
| `keys` | where everything of one model is in Redis |
| `manifest` | what a version is, and its id |
| `chunks` | how tables and journals lie in Redis |
| `scripts` | which steps are atomic |
| `store` | what readers and writers see |
| `aliases` | which names there may be |
| `records` | how one state is encoded at the moment |
| `retention` | which versions are kept |
| `maintenance` | when states are folded and encoded anew |
| `cautions` | what about a Redis would cost versions |
| `comparison` | what moved between two versions |
"""

from stream.versions.aliases import CANARY, LATEST, PINNED, AliasMove
from stream.versions.errors import (
    CorruptVersion,
    Fenced,
    JournalGone,
    StaleParent,
    UnknownFormat,
    UnknownVersion,
    VersionError,
    WrongAlias,
)
from stream.versions.manifest import ShardState, Version
from stream.versions.retention import Policy
from stream.versions.store import Announcement, Claim, VersionStore

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
    "Policy",
    "ShardState",
    "StaleParent",
    "UnknownFormat",
    "UnknownVersion",
    "Version",
    "VersionError",
    "VersionStore",
    "WrongAlias",
]
