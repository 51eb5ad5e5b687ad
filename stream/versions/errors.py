"""What can go wrong with versions, drawn as a tree.

    VersionError
    ├── Fenced            another worker owns the shard now
    ├── StaleParent       the shard's head is not the state that was built upon
    ├── UnknownVersion    no such number, alias or id
    ├── WrongAlias        a name that an alias can't have
    ├── CorruptVersion    bytes in Redis are not those that were published
    ├── UnknownFormat     written by a release that this one can't read
    └── JournalGone       the batches that were asked for are no longer kept

That Redis can't be reached is not in the tree: it stays redis-py's own `redis.exceptions.RedisError`, because the
answer to it is another one (wait and try again with everything kept).
"""

from __future__ import annotations


class VersionError(Exception):
    """The root: something about versions that trying again will not mend by itself."""


class Fenced(VersionError):
    """Another claim on the shard has been made (or Redis came back without ours): this worker must stop publishing.

    The worker drops the shard's state. If Kafka still assigns it the partition, it claims, restores and seeks again.
    """


class StaleParent(VersionError):
    """The shard's head in Redis is not what this cut was made upon. The worker does what it does when fenced."""


class UnknownVersion(VersionError, LookupError):
    """There is no version of this number, alias or id; or it has been thinned out."""


class WrongAlias(VersionError, ValueError):
    """A name that an alias can't have: it could be taken for a number or an id, or the store moves it itself."""


class CorruptVersion(VersionError):
    """What Redis holds is not what was published: a checksum differs, or a part is missing."""


class UnknownFormat(VersionError):
    """Written in a format that this release does not read."""


class JournalGone(VersionError):
    """The journal of these batches has been dropped with the versions that it led from."""
