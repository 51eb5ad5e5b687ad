"""Holes in the states of a shard: chunks that are lost, the states that need them, and those that don't.

A state is read from the nearest keyframe at or before it, and the deltas after that. So a lost delta makes unreadable
what is built upon it up to the next keyframe, and a lost keyframe what is read from it. A keyframe is a second encoding
of its state wherever the deltas lead to it too: then it can be done without.

This file decides which states are whole, and which lost keyframes are forgotten. Journals don't count: no state is read
from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stream.versions.storage import scripts
from stream.versions.storage.chunks import ChunkRef
from stream.versions.storage.namespace import Namespace
from stream.versions.storage.records import StateRecord, encode_refs
from stream.versions.storage.requests import ReencodeRequest


def is_lost(refs: list[ChunkRef] | None, lost: Collection[str]) -> bool:
    """True if one of these chunks is lost."""
    return any(ref.name in lost for ref in refs or [])


def whole_states(records: Mapping[int, StateRecord], lost: Collection[str]) -> list[int]:
    """Numbers of the states that can be read, newest first.

    Args:
        records: of all states of a shard, by number.
        lost: names of the chunks that are lost.
    """
    whole: dict[int, bool] = {}
    for seq in sorted(records):  # parents come first: numbers rise with every publish
        record = records[seq]
        if record.keyframe is not None:
            whole[seq] = not is_lost(record.keyframe, lost)
        else:
            parent = record.parent is not None and whole.get(record.parent, False)
            whole[seq] = parent and not is_lost(record.delta, lost)
    return sorted((seq for seq, is_whole in whole.items() if is_whole), reverse=True)


def forget_lost_keyframes(
    space: Namespace, partition: int, records: Mapping[int, StateRecord], lost: Collection[str]
) -> int:
    """Forget each lost keyframe of a state that its deltas lead to as well; return their number.

    Args:
        space: of the model.
        partition: the shard.
        records: of all its states, by number; those that change follow.
        lost: names of the chunks that are lost.
    """
    run, forgotten = space.script(scripts.REENCODE), 0
    for record in records.values():
        if not is_lost(record.keyframe, lost) or record.parent is None or is_lost(record.delta, lost):
            continue
        request = ReencodeRequest(
            partition=partition,
            seq=record.seq,
            digest=record.digest,
            revision=record.revision,
            parent=record.parent,
            delta=encode_refs(record.delta),
            keyframe=b"",
            journal=encode_refs(record.journal),
            replaced_seconds=0,
            new_chunks=0,
        )
        status, *_ = run(request)
        if status == b"ok":
            record.keyframe, record.revision = None, record.revision + 1
            forgotten += 1
    return forgotten
