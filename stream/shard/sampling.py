"""The sample of events that are tested: chosen by a hash of each record's place in the log.

This file decides which events of a batch are tested. The choice depends only on topic, partition, offset and the
model's seed, so a replay of the log tests the same events. The share that is tested is decided by the caller
(`stream.runner.sampling_budget` in a worker).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from stream.ingest.origins import partition_of, topic_of
from stream.ingest.records import Record
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
    hashes ^= np.fromiter(map(_offset, records), np.uint64, len(records)) * np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes


def sampled(hashes: NDArray[np.uint64], rate: float) -> NDArray[np.uint8]:
    """1 for each record that is tested, else 0, at a rate from 0 to 1; a higher rate only adds records.

    >>> hashes = np.array([0, 2**62, 2**63, 2**64 - 1], np.uint64)
    >>> sampled(hashes, 0.0).tolist(), sampled(hashes, 0.5).tolist()
    ([0, 0, 0, 0], [1, 1, 0, 0])
    """
    return (hashes.astype(np.float64) < rate * 2.0**64).astype(np.uint8)
