"""Versions that have learned less than the one that answers: they wait until they have passed it.

A shard whose newest state was lost goes on from an older one and learns again what Kafka has; so does a model whose
Redis was restored from a copy or came back empty. Its first versions know less than the last one before, which is still
in memory here and goes on answering. If Kafka no longer has the records that lead to that version's offsets, no version
ever passes them: then it is enough that the shard has caught up with what there is, which its worker reports.

A pinned version is served whatever it has learned.

This file decides when a version is held back.
"""

from __future__ import annotations

from serving.loading.served import LoadedVersion
from stream.versions import PINNED, Version, VersionStore


class HoldBack:
    """Compares a version that is to be served with the one that answers.

    Args:
        store: of versions, aliases and reports. It is asked only if a version has learned less.
    """

    def __init__(self, store: VersionStore) -> None:
        self._store = store

    def reason(self, served: LoadedVersion | None, wanted: Version) -> str | None:
        """The reason why a version is held back; None if it may be served.

        Raises:
            RedisError: the store does not answer.
        """
        behind = shards_behind(served.version, wanted) if served is not None else []
        if served is None or not behind:
            return None
        if self._store.aliases().get(PINNED) == wanted.number or self._store.caught_up(behind):
            return None
        return (
            f"version {wanted.number} (lineage {wanted.lineage}) has learned less than version {served.version.number} "
            f"(lineage {served.version.lineage}), which answers, in shards {', '.join(map(str, behind))}. Redis lost a "
            "part of newer versions, or was restored from a copy. A version is served as soon as it has passed the "
            "offsets of the one that answers or has caught up with Kafka, or if it is pinned"
        )


def shards_behind(served: Version, wanted: Version) -> list[int]:
    """Numbers of the shards in which a version has learned a log less far than the one that answers."""
    return [
        shard
        for shard, state in sorted(served.shards.items())
        if shard in wanted.shards
        and any(wanted.shards[shard].offsets.get(log, 0) < offset for log, offset in state.offsets.items())
    ]
