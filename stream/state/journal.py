"""Journals: the bounds of every batch that a shard learned, and the rate at which its events were tested.

A journal and Kafka's log together give back the tables bit for bit: the bounds say which records were one batch (inside
a batch the merge orders them), the rate says which of them were tested. A record on which something failed unexpectedly
is in the journal too: a replay leaves it out, even if nothing fails on it any more. So is a record whose events were
counted only because its visitor refused profiling, whatever the visitor says when it is replayed. One journal belongs
to each checkpoint; journals of neighbouring checkpoints are concatenated when the version between them is dropped.

This file decides how a journal is kept and encoded. The batches themselves are decided by the worker.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

_BOUNDS, _WITH_ISOLATED, _WITH_COUNTED = 1, 2, 3
"""Formats. A journal without isolated records is written in the first, which release 0.1 reads too, and one without
counted records in one of the first two."""


class CorruptJournal(ValueError):
    """Bytes that are no encoded journal, or a journal of a format that this release does not know."""


@dataclass(frozen=True)
class Journal:
    """Batches, in the order in which they were applied.

    >>> journal = Journal(["clicks"], np.array([1.0, 0.5]), np.array([[10], [25]]))
    >>> journal.batches, Journal.decode(journal.encode()) == journal
    (2, True)

    Attributes:
        keys: of logs (`stream.shard.logs`), one for each column of `offsets`.
        rates: (batches,) float64, the share of the batch's events that were tested.
        offsets: (batches, keys) int64, the next offset of each log after the batch.
        isolated: rising offsets of the isolated records of each log; only logs that have some.
        counted: rising offsets of the records of each log whose events were counted only (`stream.ingest.counted`).
    """

    keys: list[str] = field(default_factory=list)
    rates: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    isolated: Mapping[str, Sequence[int]] = field(default_factory=dict)
    counted: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.offsets.shape != (len(self.rates), len(self.keys)):
            raise ValueError(
                f"a journal of {len(self.rates)} batches over {len(self.keys)} logs needs offsets of shape "
                f"{(len(self.rates), len(self.keys))}, not {self.offsets.shape}"
            )

    @property
    def batches(self) -> int:
        """Number of batches."""
        return len(self.rates)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Journal):
            return NotImplemented
        return (
            self.keys == other.keys
            and np.array_equal(self.rates, other.rates)
            and np.array_equal(self.offsets, other.offsets)
            and self.isolated == other.isolated
            and self.counted == other.counted
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def after(self, offsets: dict[str, int]) -> Journal:
        """The batches that lead beyond `offsets` (next offset by key). Batches that read nothing new are left out."""
        passed = np.array([offsets.get(key, 0) for key in self.keys], np.int64)
        new = (self.offsets > passed).any(axis=1)
        isolated, counted = (
            {
                key: later
                for key, places in each.items()
                if (later := [place for place in places if place >= offsets.get(key, 0)])
            }
            for each in (self.isolated, self.counted)
        )
        return Journal(self.keys, self.rates[new], self.offsets[new], isolated, counted)

    def encode(self) -> bytes:
        """The journal as bytes: offsets as differences, which are small and repeat, compressed with zlib."""
        steps = np.diff(self.offsets, axis=0, prepend=0)
        columns = [
            self.rates.astype("<f8").tobytes(),
            np.ascontiguousarray(steps.astype("<i8").T).tobytes(),
        ]
        parts: list[object] = [_BOUNDS, self.keys, *columns]
        if self.isolated:
            parts = [_WITH_ISOLATED, self.keys, *columns, self.isolated]
        if self.counted:
            steps_of = {key: np.diff(places, prepend=0).tolist() for key, places in self.counted.items()}
            parts = [_WITH_COUNTED, self.keys, *columns, self.isolated, steps_of]
        return zlib.compress(msgspec.msgpack.encode(parts), 6)

    @classmethod
    def decode(cls, encoded: bytes) -> Journal:
        """The journal that `encode` wrote. Raises `CorruptJournal` if the bytes are none."""
        try:
            plain = zlib.decompress(encoded)
            first = next(iter(msgspec.msgpack.decode(plain, type=list[msgspec.Raw])), msgspec.Raw(b""))
            version = msgspec.msgpack.decode(first, type=int)
            isolated: dict[str, list[int]] = {}
            counted: dict[str, list[int]] = {}
            if version == _BOUNDS:
                _, topics, rates, steps = msgspec.msgpack.decode(plain, type=tuple[int, list[str], bytes, bytes])
            elif version == _WITH_ISOLATED:
                _, topics, rates, steps, isolated = msgspec.msgpack.decode(
                    plain, type=tuple[int, list[str], bytes, bytes, dict[str, list[int]]]
                )
            elif version == _WITH_COUNTED:
                _, topics, rates, steps, isolated, counted = msgspec.msgpack.decode(
                    plain, type=tuple[int, list[str], bytes, bytes, dict[str, list[int]], dict[str, list[int]]]
                )
            else:
                raise CorruptJournal(
                    f"a journal of format {version}; this release reads formats {_BOUNDS} to {_WITH_COUNTED}"
                )
        except (zlib.error, msgspec.DecodeError) as error:
            raise CorruptJournal(f"{len(encoded)} bytes are no encoded journal: {error}") from error
        if len(steps) != len(rates) * len(topics):
            raise CorruptJournal(f"columns of {len(rates)} and {len(steps)} bytes for {len(topics)} topics")
        rate_column = np.frombuffer(rates, "<f8").astype(np.float64)
        columns = np.frombuffer(steps, "<i8").reshape(len(topics), len(rate_column))
        offsets = np.ascontiguousarray(np.cumsum(columns, axis=1).T, dtype=np.int64)
        places = {key: np.cumsum(each).tolist() for key, each in counted.items()}
        return cls(topics, rate_column, offsets, isolated, places)


def concatenate(journals: Sequence[Journal]) -> Journal:
    """One journal of all batches, in order. Logs that a journal doesn't have were not read yet: offset 0.

    >>> early, late = Journal(["a"], np.ones(1), np.array([[3]])), Journal(["a", "b"], np.ones(1), np.array([[4, 9]]))
    >>> concatenate([early, late]).offsets.tolist()
    [[3, 0], [4, 9]]
    """
    keys = list(dict.fromkeys(key for journal in journals for key in journal.keys))
    offsets = np.zeros((sum(journal.batches for journal in journals), len(keys)), np.int64)
    at = 0
    for journal in journals:
        for column, key in enumerate(journal.keys):
            offsets[at : at + journal.batches, keys.index(key)] = journal.offsets[:, column]
        at += journal.batches
    isolated: dict[str, list[int]] = {}
    counted: dict[str, list[int]] = {}
    for journal in journals:
        for joined, each in ((isolated, journal.isolated), (counted, journal.counted)):
            for key, places in each.items():
                joined.setdefault(key, []).extend(places)
    rates = np.concatenate([np.zeros(0), *(journal.rates for journal in journals)])
    return Journal(keys, rates, offsets, isolated, counted)
