"""The sample of events that are tested: chosen by a hash of each record's place in the log.

This file decides which events of a batch are tested. The choice depends only on topic, partition, offset and the
model's seed, and for the second and later events of a record on their number in it, so a replay of the log tests the
same events. The share that is tested is decided by the caller (`stream.runner.sampling_budget` in a worker).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from stream.ingest.origins import partition_of, topic_of
from stream.ingest.records import Record
from stream.models.kernels.compile import kernel
from stream.models.settings import ModelSettings

_origin, _offset = itemgetter(0), itemgetter(1)


class SampleSeeds(dict[str, int]):
    """The 64-bit seed of the sample of each origin: from the model's seed, the partition and our topic's name.

    Args:
        settings: of the model.
        shard: whose origins these are.
    """

    def __init__(self, settings: ModelSettings, shard: int) -> None:
        super().__init__()
        self._seed = settings.seed
        self._shard = shard

    def __missing__(self, origin: str) -> int:
        text = f"{self._seed} {partition_of(origin, self._shard)} {topic_of(origin)}"
        self[origin] = seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        return seed


def sample_hashes(seeds: Mapping[str, int], records: Sequence[Record]) -> NDArray[np.uint64]:
    """A 64-bit hash of each record's place, uint64 of shape `(len(records),)`; see `sampled`.

    The mixing steps are those of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014).
    """
    hashes = np.fromiter(map(seeds.__getitem__, map(_origin, records)), np.uint64, len(records))
    _mix_in(hashes, np.fromiter(map(_offset, records), np.int64, len(records)))
    return hashes


@kernel
def _mix_in(hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
    """Mix the offset of each record into the seed of its origin. One call takes less time than nine of NumPy."""
    for number in range(hashes.size):
        mixed = hashes[number] ^ (np.uint64(offsets[number]) * np.uint64(0x9E3779B97F4A7C15))
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashes[number] = mixed ^ (mixed >> np.uint64(31))


def of_events(hashes: NDArray[np.uint64], records: Sequence[Record]) -> NDArray[np.uint64]:
    """Hashes of events of which several may be of one record: the first has its record's, each other one its own.

    Args:
        hashes: (n,) of their records.
        records: of each event; those of one record stand side by side.

    >>> record, other = Record("clicks", 7, 0, b""), Record("clicks", 8, 0, b"")
    >>> hashes = of_events(np.array([5, 5, 9], np.uint64), [record, record, other])
    >>> (hashes == np.array([5, 5, 9])).tolist()
    [True, False, True]
    """
    if len(records) < 2:
        return hashes
    numbers = numbers_in_record(records)
    mixed = (hashes ^ (numbers * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    return np.where(numbers == 0, hashes, mixed)


def numbers_in_record(records: Sequence[Record]) -> NDArray[np.uint64]:
    """The number of each event in its record, from 0; those of one record stand side by side."""
    offsets = np.fromiter(map(_offset, records), np.int64, len(records))
    origins = list(map(_origin, records))
    places = np.arange(len(records))
    begins = np.ones(len(records), bool)
    begins[1:] = offsets[1:] != offsets[:-1]
    begins[1:] |= np.fromiter((a != b for a, b in pairwise(origins)), bool, len(origins) - 1)
    return (places - np.maximum.accumulate(np.where(begins, places, 0))).astype(np.uint64)


def sampled(hashes: NDArray[np.uint64], rate: float) -> NDArray[np.uint8]:
    """1 for each record that is tested, else 0, at a rate from 0 to 1; a higher rate only adds records.

    >>> hashes = np.array([0, 2**62, 2**63, 2**64 - 1], np.uint64)
    >>> sampled(hashes, 0.0).tolist(), sampled(hashes, 0.5).tolist()
    ([0, 0, 0, 0], [1, 1, 0, 0])
    """
    return (hashes.astype(np.float64) < rate * 2.0**64).astype(np.uint8)
