"""This file decides which events of a batch are tested: by a hash of where each lies in the log, so a replay tests the same.

How many are tested is decided by whoever gives the rate (`stream.runner.test_budget`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from stream.events import TOPIC_TYPES
from stream.ingest.records import Record
from stream.models.settings import ModelSettings

_topic, _offset = itemgetter(0), itemgetter(1)


def sample_seeds(settings: ModelSettings, partition: int) -> dict[str, int]:
    """What the sample of each topic is drawn by."""
    return {
        topic: int.from_bytes(
            hashlib.blake2b(f"{settings.seed} {partition} {topic}".encode(), digest_size=8).digest(), "little"
        )
        for topic in TOPIC_TYPES
    }


def sample_places(seeds: Mapping[str, int], records: Sequence[Record]) -> NDArray[np.uint64]:
    """A hash of where each record is in the log, so that a replay tests the same ones; see `sampled`."""
    places = np.fromiter(map(seeds.__getitem__, map(_topic, records)), np.uint64, len(records))
    places ^= np.fromiter(map(_offset, records), np.uint64, len(records)) * np.uint64(0x9E3779B97F4A7C15)
    places = (places ^ (places >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    places = (places ^ (places >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    places ^= places >> np.uint64(31)
    return places


def sampled(places: NDArray[np.uint64], rate: float) -> NDArray[np.uint8]:
    """1 for each record that is tested at a rate from 0 to 1, by its place in the log."""
    return (places.astype(np.float64) < rate * 2.0**64).astype(np.uint8)
