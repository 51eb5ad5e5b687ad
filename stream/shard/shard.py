"""One partition's learning state: records in, tables out. Pure: no clock, no network, no randomness.

A shard is its tables and a few numbers that say how far it is: the next offset of each topic and what became of every
record. `apply` takes one batch, `cut` hands over what was written since the last cut, `restore` goes on from a version
exactly as the shard that wrote it would have gone on. Of every record `learned + duplicates + refused + dead letters =
read`, per topic.

This file decides what a batch does to the state. The order of records is decided before (`stream.ingest.merge`), how an event
is learned in `stream.models`, and what happens to a cut in `stream.versions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.events import TOPIC_TYPES
from stream.ingest.decoding import Decoder
from stream.ingest.records import Record, Rejection
from stream.models.batch import EventBatch
from stream.models.kernels.hashing import hash_ids, salt_key
from stream.models.learning.learner import DUPLICATE, TEST, UPDATE, Learner
from stream.models.model import Model
from stream.models.schema import CLOCK
from stream.models.settings import ModelSettings
from stream.models.workspace.scoring_view import views_of
from stream.shard.sampling import sample_places, sample_seeds, sampled
from stream.state.checkpoint import Checkpoint
from stream.state.journal import Journal
from stream.state.tables import Delta, Tables

__all__ = ["Batch", "Checkpoint", "Record", "Rejection", "Shard"]

_TOPIC, _TOPIC_OFFSET = itemgetter(0), itemgetter(0, 1)

COUNTERS = ("read", "learned", "duplicates", "refused", "dead_letters")


class Batch(NamedTuple):
    """Records that were decoded and wait to be learned.

    Attributes:
        records: all of them, in merged order.
        good: those that are events, a row of `columns` and of `places` (see `sample_places`) each.
        letters: for the others.
        read: how many records each topic has.
        first, last: offset of the first and of the last record of each topic.
    """

    records: Sequence[Record]
    good: Sequence[Record]
    letters: list[Rejection]
    columns: EventBatch
    places: NDArray[np.uint64]
    read: Mapping[str, int]
    first: Mapping[str, int]
    last: Mapping[str, int]


class Shard:
    """The learner of one partition.

    >>> shard = Shard(ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64))
    >>> records = [Record("clicks", n, 1_000_000 + n, b'{"item": "a", "user": "u%d"}' % n) for n in range(3)]
    >>> shard.apply([*records, Record("clicks", 3, 1_000_003, b"no event")], rate=1.0)[0].reason
    'value: JSON is malformed: ...'
    >>> shard.counters["clicks"]
    {'read': 4, 'learned': 3, 'duplicates': 0, 'refused': 0, 'dead_letters': 1}
    >>> shard.model().popular(1, now=1003.0).items
    ['a']

    Args:
        settings: what the model is.
        partition, shards: which partition of how many.
        fields: our field names to the producers'.
        max_future_seconds: how far an event's time may be ahead of its record's.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        partition: int = 0,
        shards: int = 1,
        fields: Mapping[str, str] | None = None,
        max_future_seconds: float = 300.0,
    ) -> None:
        self.settings = settings
        self.partition = partition
        self.shards = shards
        self.offsets: dict[str, int] = {}
        self.counters: dict[str, dict[str, int]] = {topic: dict.fromkeys(COUNTERS, 0) for topic in TOPIC_TYPES}
        self._decoder = Decoder(settings, fields, max_future_seconds)
        self._sample_seeds = sample_seeds(settings, partition)
        self._learner = Learner(settings)
        self._rates: list[float] = []
        self._bounds: list[dict[str, int]] = []

    @property
    def tables(self) -> Tables:
        return self._learner.tables

    @property
    def clock(self) -> float:
        """Time of the latest event that was learned, in seconds."""
        return float(self._learner.state.scalars[CLOCK])

    def apply(self, records: Sequence[Record], rate: float) -> list[Rejection]:
        """Test and learn one batch, in this order. Records that are in the state already are skipped.

        Args:
            records: in merged order.
            rate: share of events, from 0 to 1, that is tested before it is learned.

        Returns:
            A letter for every record that could not be learned.
        """
        return self.learn(self.decoded(records), rate)

    def decoded(self, records: Sequence[Record]) -> Batch:
        """One batch as `learn` takes it. Reads nothing that learning changes: another thread may be in `learn`.

        Nearly all of this holds Python's lock, and nearly all of `learn` is a kernel that doesn't.
        """
        columns, good, letters = self._decoder.decode(records)
        return Batch(
            records=records,
            good=good,
            letters=letters,
            columns=columns,
            places=sample_places(self._sample_seeds, good),
            read=Counter(map(_TOPIC, records)),
            first=dict(map(_TOPIC_OFFSET, reversed(records))),
            last=dict(map(_TOPIC_OFFSET, records)),
        )

    def learn(self, batch: Batch, rate: float) -> list[Rejection]:
        """Test and learn what `decoded` gave; see `apply`."""
        if any(offset < self.offsets.get(topic, 0) for topic, offset in batch.first.items()):
            offsets = self.offsets
            batch = self.decoded([record for record in batch.records if record.offset >= offsets.get(record.topic, 0)])
        if not batch.records:
            return []
        tested = (TEST | UPDATE) * sampled(batch.places, rate)
        outcomes = self._learner.learn(batch.columns._replace(tested=tested))
        self._count(batch, outcomes.learned)
        for topic, offset in batch.last.items():
            self.offsets[topic] = offset + 1
        self._rates.append(rate)
        self._bounds.append(dict(self.offsets))
        return batch.letters

    def _count(self, batch: Batch, became: np.ndarray) -> None:
        for topic, count in batch.read.items():
            counted = self._counted(topic)
            counted["read"] += count
            counted["learned"] += count
        others = [(letter.record.topic, "refused" if letter.refused else "dead_letters") for letter in batch.letters]
        others += [(batch.good[place].topic, "duplicates") for place in np.flatnonzero(became == DUPLICATE).tolist()]
        for topic, outcome in others:
            self.counters[topic]["learned"] -= 1
            self.counters[topic][outcome] += 1

    def _counted(self, topic: str) -> dict[str, int]:
        if topic not in self.counters:
            self.counters[topic] = dict.fromkeys(COUNTERS, 0)
        return self.counters[topic]

    def erase(self, visitors: Sequence[str]) -> int:
        """Forget these users and sessions; returns how many rows that emptied. A replay has to erase them again."""
        return self._learner.erase(hash_ids(list(visitors), salt_key(self.settings.visitor_salt)))

    def model(self) -> Model:
        """The model as it is now, for answers and tests; it reads the live tables."""
        return Model(self.settings, views_of(self.tables), self.readable_state())

    def checkpoint(self) -> Checkpoint:
        """What was written since the last cut."""
        journal = self._journal()
        self._rates, self._bounds = [], []
        return Checkpoint(self.tables.checkpoint(), self.readable_state(), journal)

    def next_part(self, most_blocks: int) -> Checkpoint | Delta:
        """The next piece of a cut that would hold learning up too long at once (see `Tables.piece`).

        Returns:
            The cut, when nothing is left: the pieces since the last cut come before it, and are folded into it by
            whoever has the time. Until then only blocks.
        """
        delta, done = self.tables.next_part(most_blocks)
        if not done:
            return delta
        journal = self._journal()
        self._rates, self._bounds = [], []
        return Checkpoint(delta, self.readable_state(), journal)

    def snapshot(self) -> Checkpoint:
        """A keyframe of this moment; the next `cut` is not affected."""
        return Checkpoint(self.tables.snapshot(), self.readable_state(), self._journal())

    def readable_state(self) -> dict[str, Any]:
        return {
            "offsets": dict(self.offsets),
            "counters": {topic: dict(counts) for topic, counts in self.counters.items()},
            "clock": self.clock,
            "partition": self.partition,
            "shards": self.shards,
            "metrics": self._learner.metrics(),
            "drift": self._learner.detectors.signals(),
        }

    def _journal(self) -> Journal:
        topics = list(dict.fromkeys([*TOPIC_TYPES, *self.offsets]))
        offsets = [[bounds.get(topic, 0) for topic in topics] for bounds in self._bounds]
        return Journal(topics, np.array(self._rates, np.float64), np.array(offsets, np.int64).reshape(-1, len(topics)))

    @classmethod
    def restore(
        cls,
        settings: ModelSettings,
        tables: Tables,
        state: Mapping[str, Any],
        *,
        partition: int = 0,
        shards: int = 1,
        fields: Mapping[str, str] | None = None,
        max_future_seconds: float = 300.0,
    ) -> Shard:
        """The shard that goes on from a version exactly as the one that wrote it.

        Args:
            tables: of these settings, filled with the version's.
            state: the version's readable part.
        """
        shard = cls(settings, partition=partition, shards=shards, fields=fields, max_future_seconds=max_future_seconds)
        shard._learner = Learner(settings, tables)
        shard.offsets = {topic: int(offset) for topic, offset in state["offsets"].items()}
        for topic, counts in state["counters"].items():
            shard.counters[topic] = {name: int(counts.get(name, 0)) for name in COUNTERS}
        return shard
