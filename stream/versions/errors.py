"""Errors of the version store, drawn as a tree.

    VersionError
    ├── Fenced            another worker owns the shard now
    ├── StaleParent       the shard's head is not the state that was built upon
    ├── UnknownVersion    no such number, alias or id
    ├── WrongAlias        a name that an alias can't have
    ├── WrongSalt         a version was published with another visitor salt
    ├── WrongNames        a state has names that this process can't bring to its own
    ├── WrongShardCount   the model has another number of shards
    ├── ShardsMerging     its shards are being merged at this moment
    ├── WorkersRunning    workers learn the model that is to be changed
    ├── CorruptVersion    bytes in Redis are not those that were published
    │   └── LostData      a part of a state is missing in Redis, or is not what was written
    ├── UnknownFormat     written by a release that this one can't read
    └── JournalGone       the batches that were asked for are no longer kept

This file decides which errors callers can tell apart. A Redis that can't be reached is not in the tree: it stays
redis-py's own `redis.exceptions.RedisError`, because the remedy is another one (wait and try again with everything
kept).
"""

from __future__ import annotations


class VersionError(Exception):
    """The root: a problem with versions that trying again will not solve by itself."""


class Fenced(VersionError):
    """Another claim on the shard has been made (or Redis came back without ours): this worker must stop publishing.

    The worker drops the shard's state. If Kafka still assigns it the partition, it claims, restores and seeks again.
    """


class StaleParent(VersionError):
    """The shard's head in Redis is not the state that the checkpoint was built upon. Treated as `Fenced` is."""


class UnknownVersion(VersionError, LookupError):
    """There is no version of this number, alias or id; or it has been thinned out."""


class WrongAlias(VersionError, ValueError):
    """A name that an alias can't have: it could be taken for a number or an id, or the store moves it itself."""


class WrongSalt(VersionError, ValueError):
    """The visitor salt of this process is not the one that a version was published with: hashes would not match."""


class WrongNames(VersionError, ValueError):
    """The names of a state can't be brought to those of this process: its numbers would be taken for others."""


class WrongShardCount(VersionError, ValueError):
    """The model has another number of shards than this process is set to, or they can't become as many as asked for."""


class WorkersRunning(VersionError):
    """Workers learn the model: they would go on with their old settings from what a command puts in its place."""


class ShardsMerging(VersionError):
    """A command is merging the model's shards; none of them can be claimed until it has ended."""


class CorruptVersion(VersionError):
    """Bytes in Redis are not those that were published: a checksum differs, or a part is missing."""


class LostData(CorruptVersion):
    """A part of a state is missing in Redis, or is not what was written. Another state may be whole.

    Attributes:
        chunk: name of the chunk that is not what was written; empty if something is missing.
    """

    def __init__(self, message: str, chunk: str = "") -> None:
        super().__init__(message)
        self.chunk = chunk


class UnknownFormat(VersionError):
    """Written in a format that this release does not read."""


class JournalGone(VersionError):
    """The journal of these batches has been dropped with the versions that it led from."""
