"""How Redis encodes one state at this moment: upon which parent, in which chunks. A state stays, its record may not."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from stream.versions.storage.chunks import ChunkRef

JOURNAL_DROPPED = "dropped"
"""Codec of a reference that stands for batches that are no longer kept."""

FIELDS = ("digest", "parent", "delta", "keyframe", "journal", "state", "revision", "created_at")

_refs_decoder = msgspec.json.Decoder(list[ChunkRef])


@dataclass
class StateRecord:
    """One state of a shard.

    Attributes:
        seq: number of the state.
        digest: what the state is.
        parent: the state that `delta` and `journal` lead from; None for the oldest one.
        delta: chunks of the blocks written since the parent.
        keyframe: chunks of all blocks of the state, or None. Every oldest state has one, others now and then. An empty
            list is the keyframe of empty tables.
        journal: chunks of the batches since the parent.
        state: the readable part, JSON; empty where it was not asked for.
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
    def read(cls, seq: int, row: list[bytes]) -> StateRecord:
        """From the values of `FIELDS`."""
        digest, parent, delta, keyframe, journal, state, revision, created_at = row
        return cls(
            seq=seq,
            digest=digest.decode(),
            parent=int(parent) if parent else None,
            delta=decode_refs(delta),
            keyframe=decode_refs(keyframe) if keyframe else None,
            journal=decode_refs(journal),
            state=state or b"",
            revision=int(revision),
            created_at=float(created_at),
        )

    @property
    def chunks(self) -> set[str]:
        return {ref.name for refs in (self.delta, self.keyframe or [], self.journal) for ref in refs}


def decode_refs(encoded: bytes) -> list[ChunkRef]:
    return _refs_decoder.decode(encoded) if encoded else []


def encode_refs(refs: list[ChunkRef] | None) -> bytes:
    """JSON; None is the empty string."""
    return b"" if refs is None else msgspec.json.encode(refs)


def stored_bytes(refs: list[ChunkRef] | None) -> int:
    """Bytes that chunks take in Redis."""
    return sum(ref.bytes for ref in refs or [])
