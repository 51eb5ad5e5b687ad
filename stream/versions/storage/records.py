"""The record of one state in Redis: which parent it is encoded upon, and in which chunks.

A state never changes, its record may: compaction replaces deltas by keyframes and folds parents away.

This file decides the form of a record and its revision, and reads all records of a shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.versions.storage.chunks import ChunkRef
from stream.versions.storage.namespace import Namespace
from stream.versions.storage.requests import ChainRow

JOURNAL_DROPPED = "dropped"
"""Codec of a reference that stands for batches that are no longer kept."""

FIELDS = ("digest", "parent", "delta", "keyframe", "journal", "revision", "created_at")
"""Hash fields of a record that compaction reads: all but the readable state."""

_RECORDS_A_ROUND_TRIP = 128
_CHUNKS_A_COMMAND = 500

_refs_decoder = msgspec.json.Decoder(list[ChunkRef])


@dataclass
class StateRecord:
    """One state of a shard, as it is encoded at the moment.

    Attributes:
        seq: number of the state.
        digest: identity of the state's content.
        parent: the state that `delta` and `journal` lead from; None for the oldest one.
        delta: chunks of the blocks written since the parent.
        keyframe: chunks of all blocks of the state, or None. Every oldest state has one, others now and then. An empty
            list is the keyframe of empty tables.
        journal: chunks of the batches since the parent.
        state: the readable part, JSON; empty if it was not read.
        revision: rises whenever the encoding changes.
        created_at: seconds since the epoch.
    """

    seq: int
    digest: str
    parent: int | None
    delta: list[ChunkRef]
    keyframe: list[ChunkRef] | None
    journal: list[ChunkRef]
    state: bytes = b""
    revision: int = 0
    created_at: float = 0.0

    @classmethod
    def of_chain(cls, row: ChainRow) -> StateRecord:
        """The record in a row of the chain script's answer."""
        encoding = _encoding(row.parent, row.delta, row.keyframe, row.journal)
        return cls(int(row.seq), row.digest.decode(), *encoding, state=row.state)

    @classmethod
    def of_hash(cls, seq: int, cells: Mapping[str, Any]) -> StateRecord:
        """The record whose hash has these values of `FIELDS`."""
        encoding = _encoding(cells["parent"], cells["delta"], cells["keyframe"], cells["journal"])
        revision, created_at = int(cells["revision"]), float(cells["created_at"])
        return cls(seq, cells["digest"].decode(), *encoding, revision=revision, created_at=created_at)

    @property
    def chunks(self) -> set[str]:
        """Names of all chunks that the record refers to."""
        return {ref.name for refs in (self.delta, self.keyframe or [], self.journal) for ref in refs}


def read_records(space: Namespace, partition: int) -> dict[int, StateRecord]:
    """The records of all states of a shard that are kept, by number, without their readable part."""
    seqs = [int(seq) for seq in space.redis.zrange(space.keys.states(partition), 0, -1)]
    records = {}
    for at in range(0, len(seqs), _RECORDS_A_ROUND_TRIP):
        group = seqs[at : at + _RECORDS_A_ROUND_TRIP]
        with space.redis.pipeline(transaction=False) as pipe:
            for seq in group:
                pipe.hmget(space.keys.state(partition, seq), FIELDS)
            rows = pipe.execute()
        for seq, row in zip(group, rows, strict=True):
            cells = dict(zip(FIELDS, row, strict=True))
            if cells["digest"] is not None:
                records[seq] = StateRecord.of_hash(seq, cells)
    return records


def absent_chunks(space: Namespace, records: Iterable[StateRecord]) -> set[str]:
    """Names of the chunks that records refer to and Redis doesn't have.

    A command asks for the number of those that are there, of hundreds at once; their names are asked for only where
    some are missing.
    """
    names = list({name for record in records for name in record.chunks if name})
    groups = [names[at : at + _CHUNKS_A_COMMAND] for at in range(0, len(names), _CHUNKS_A_COMMAND)]
    absent: set[str] = set()
    for group in groups:
        keys = [space.keys.chunk(name) for name in group]
        if space.redis.exists(*keys) == len(keys):
            continue
        with space.redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.exists(key)
            absent |= {name for name, there in zip(group, pipe.execute(), strict=True) if not there}
    return absent


def _encoding(
    parent: bytes, delta: bytes, keyframe: bytes, journal: bytes
) -> tuple[int | None, list[ChunkRef], list[ChunkRef] | None, list[ChunkRef]]:
    return (
        int(parent) if parent else None,
        decode_refs(delta),
        decode_refs(keyframe) if keyframe else None,
        decode_refs(journal),
    )


def decode_refs(encoded: bytes) -> list[ChunkRef]:
    """References from JSON; the empty string is an empty list."""
    return _refs_decoder.decode(encoded) if encoded else []


def encode_refs(refs: list[ChunkRef] | None) -> bytes:
    """References as JSON; None is the empty string."""
    return b"" if refs is None else msgspec.json.encode(refs)


def stored_bytes(refs: list[ChunkRef] | None) -> int:
    """Bytes that chunks take in Redis."""
    return sum(ref.bytes for ref in refs or [])
