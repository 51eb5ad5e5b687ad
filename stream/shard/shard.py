"""The learning state of one shard: records in, tables out.

A shard is its tables and a few numbers that say how far it is: the next offset of each log that it learns from, and the
count of records by outcome. `apply` learns one batch, `checkpoint` hands over what was written since the last
checkpoint, and `restore` continues from a version exactly as the shard that wrote it would have continued. For every
origin (`stream.ingest.origins`), `read` is the sum of all other outcomes. Learned events whose time was ahead of the
stream clock (`stream.models.learning.stream_clock`) are counted once more as `ahead`. If a mapping cuts records into
several events, these are counted beside the records (`stream.shard.counters`).

This file decides what a batch does to the state, and what a checkpoint holds. The order of records is decided before
(`stream.ingest.merge`), how an event is learned in `stream.models`, and what happens to a checkpoint in
`stream.versions`. Nothing here reads a clock, a network or chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.events import TOPIC_TYPES
from stream.ingest.counted import NOBODY, Counted
from stream.ingest.mapping.plan import MappingPlan
from stream.ingest.records import NO_PLACES, Place, Record, Rejection, first_offsets
from stream.ingest.schemas.known import KnownSchemas
from stream.ingest.schemas.schema_decoder import decoder_of
from stream.models.batch import session_salt
from stream.models.kernels.hashing import hash_ids, salt_key
from stream.models.learning.event_loop import AHEAD, TEST, UPDATE
from stream.models.learning.learner import Learner
from stream.models.migration.layout import layout_of, learned_settings, misfit
from stream.models.migration.migrate import Migration, WrongCapacity, migrated
from stream.models.model import Model
from stream.models.schema import CLOCK
from stream.models.settings import ModelSettings
from stream.models.state_names import TODAY, difference, names_in
from stream.models.workspace.scoring_view import views_of
from stream.shard.batches import Batch, LearnResult, RatingRange
from stream.shard.counters import COUNTERS
from stream.shard.logs import Logs
from stream.shard.outcomes import event_counts, record_counts
from stream.shard.sampling import SampleSeeds, of_events, sample_hashes, sampled
from stream.state.checkpoint import Checkpoint
from stream.state.finite import mend
from stream.state.journal import Journal
from stream.state.processor import processor_family
from stream.state.tables import Delta, Tables

__all__ = ["Batch", "Checkpoint", "LearnResult", "Record", "Rejection", "Shard"]

_ORIGIN = itemgetter(0)

STATE_FORMAT = 2
"""Format of a state. 1, of release 0.1, has one offset for each topic, says nothing of the log and carries no names."""

NO_SETTINGS: Mapping[str, Any] = {}


class UnknownState(ValueError):
    """A state in a format that this release does not read, or that can't be brought to these settings."""


class Shard:
    """The learner of one shard: its tables, offsets and counters.

    >>> shard = Shard(ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64))
    >>> records = [Record("clicks", n, 1_000_000 + n, b'{"item": "a", "user": "u%d"}' % n) for n in range(3)]
    >>> shard.apply([*records, Record("clicks", 3, 1_000_003, b"no event")], rate=1.0)[0].reason
    'value: JSON is malformed: ...'
    >>> shard.counters["clicks"]
    {'read': 4, 'learned': 3, 'duplicates': 0, 'refused': 0, 'dead_letters': 1}
    >>> shard.model().popular(1, now=1003.0).items
    ['a']

    Args:
        settings: of the model.
        partition, shards: number of this shard, and the number of shards.
        fields: our field names to the producers'.
        mapping: how producers' records become events; it takes the place of `fields`.
        max_future_seconds: the largest allowed lead of an event's time over its record's, in seconds.
        tables: filled tables to continue from (`restore`); empty ones if not given.
        schemas: of records in Confluent's wire format; None if there is no registry.

    Attributes:
        migration: what `restore` changed in the tables; empty if nothing.
    """

    migration = Migration({}, (), (), other_names=False)

    def __init__(
        self,
        settings: ModelSettings,
        *,
        partition: int = 0,
        shards: int = 1,
        fields: Mapping[str, str] | None = None,
        mapping: MappingPlan | None = None,
        max_future_seconds: float = 300.0,
        tables: Tables | None = None,
        schemas: KnownSchemas | None = None,
    ) -> None:
        self.settings = settings
        self.partition = partition
        self.shards = shards
        self.logs = Logs()
        self.counters: dict[str, dict[str, int]] = {topic: dict.fromkeys(COUNTERS, 0) for topic in TOPIC_TYPES}
        self.ahead: dict[str, int] = dict.fromkeys(TOPIC_TYPES, 0)
        plans = mapping.topics if mapping is not None else {}
        self._decoder = decoder_of(settings, schemas, plans, fields, max_future_seconds)
        self._cut_topics = frozenset(topic for topic, plan in plans.items() if plan.cuts)
        self.events_a_record = 1
        """Number of events that a record of the last batch became on average, at least 1."""
        self._sample_seeds = SampleSeeds(settings, partition)
        self._learner = Learner(settings, tables)
        self._rates: list[float] = []
        self._bounds: list[dict[str, int]] = []
        self._before: dict[str, int] = {}
        self._isolated: dict[str, list[int]] = {}
        self._counted: dict[str, list[int]] = {}
        self._layout = layout_of(settings)
        self._anew = False
        """True until a checkpoint has all blocks of tables that were made anew."""
        self.mended: dict[str, int] = {}
        """Numbers of the restored state that were not finite and are 0 now, by table."""

    @property
    def offsets(self) -> dict[str, int]:
        """The next offset of each origin, in the log that it has now."""
        return self.logs.current()

    @property
    def tables(self) -> Tables:
        """The live tables; learning writes to them."""
        return self._learner.tables

    @property
    def clock(self) -> float:
        """The latest time at which an event was learned, in seconds since the epoch; answers are made as of then."""
        return float(self._learner.state.scalars[CLOCK])

    def apply(
        self,
        records: Sequence[Record],
        rate: float,
        isolated: Mapping[Place, str] = NO_PLACES,
        counted: Counted = NOBODY,
    ) -> list[Rejection]:
        """Test and learn one batch, in this order. Records that are in the state already are skipped.

        Args:
            records: in merged order.
            rate: share of events, from 0 to 1, that is tested before it is learned.
            isolated: records that are rejected unseen, with the reason of each.
            counted: events that are counted only, whatever they say.

        Returns:
            A rejection for every record that could not be learned.
        """
        return self.learn(self.decode(records, isolated, counted), rate).rejections

    def decode(
        self, records: Sequence[Record], isolated: Mapping[Place, str] = NO_PLACES, counted: Counted = NOBODY
    ) -> Batch:
        """One batch as `learn` takes it. Reads nothing that learning changes: another thread may be in `learn`.

        Nearly all of this holds Python's lock, and nearly all of `learn` is a kernel that doesn't.

        Args:
            records: in merged order.
            isolated: records that are rejected unseen, with the reason of each.
            counted: events that are counted only, whatever they say.

        Raises:
            SchemasMissing: schemas have to be found before.
            MemoryError, OSError: this machine is short of something.
        """
        unknown_kinds: Counter[str] = Counter()
        left_out: Counter[tuple[str, str]] = Counter()
        events, event_records, rejections = self._decoder.decode(records, isolated, unknown_kinds, left_out)
        events, counted_places = counted.applied_to(events, event_records)
        hashes = sample_hashes(self._sample_seeds, event_records)
        read = Counter(map(_ORIGIN, records))
        return Batch(
            records=records,
            event_records=event_records,
            rejections=rejections,
            events=events,
            sample_hashes=of_events(hashes, event_records) if self._cut_topics else hashes,
            read=read,
            first=first_offsets(records, len(read)),
            last=first_offsets(reversed(records), len(read)),
            isolated=isolated,
            counted=counted_places,
            unknown_kinds=unknown_kinds,
            left_out=left_out,
        )

    def learn(self, batch: Batch, rate: float) -> LearnResult:
        """Test and learn one batch from `decode`; see `apply`.

        Returns:
            Rejections, and how many records of each origin had which outcome. Records that were in the state already
            are in neither.

        Raises:
            Exception: whatever learning raises; the tables may hold a part of the batch then, and must be given up.
        """
        if any(offset < self.logs.offset(origin) for origin, offset in batch.first.items()):
            new = [record for record in batch.records if record.offset >= self.logs.offset(record.origin)]
            batch = self.decode(new, batch.isolated, Counted(places=batch.counted))
        if not batch.records:
            return LearnResult([], {}, {})
        tested = (TEST | UPDATE) * sampled(batch.sample_hashes, rate)
        outcomes = self._learner.learn(batch.events._replace(tested=tested))
        counts = record_counts(
            batch.read, batch.rejections, batch.event_records, outcomes.learned, several=bool(self._cut_topics)
        )
        events = event_counts(batch.event_records, outcomes.learned, batch.left_out, self._cut_topics)
        for by_origin in (counts, events):
            for origin, by_outcome in by_origin.items():
                self._count(origin, by_outcome)
        self.events_a_record = max(1, len(batch.event_records) // len(batch.records))
        ahead = Counter(batch.event_records[row].origin for row in np.flatnonzero(outcomes.learned == AHEAD).tolist())
        for origin, count in ahead.items():
            self.ahead[origin] = self.ahead.get(origin, 0) + count
        for origin, offset in batch.last.items():
            self.logs.advance(origin, offset + 1)
        self._rates.append(rate)
        self._bounds.append({self.logs.key(origin): offset + 1 for origin, offset in batch.last.items()})
        for rejection in batch.rejections:
            if rejection.isolated:
                key = self.logs.key(rejection.record.origin)
                self._isolated.setdefault(key, []).append(rejection.record.offset)
        for origin, offset in sorted(batch.counted):
            self._counted.setdefault(self.logs.key(origin), []).append(offset)
        ratings = _range_of(batch.events.values)
        return LearnResult(batch.rejections, counts, ahead, batch.unknown_kinds, ratings, events)

    def note_lost(self, origin: str, records: int) -> None:
        """Count records that Kafka removed before they were learned, once the state has passed them."""
        self._count(origin, {"read": records, "lost": records})

    def _count(self, origin: str, by_outcome: Mapping[str, int]) -> None:
        total = self.counters.setdefault(origin, dict.fromkeys(COUNTERS, 0))
        for outcome, count in by_outcome.items():
            total[outcome] = total.get(outcome, 0) + count

    def erase(self, visitors: Sequence[str]) -> int:
        """Forget these users and sessions, and return how many rows that emptied.

        The log keeps their events: a replay has to erase them again.
        """
        salt, listed = self.settings.visitor_salt, list(visitors)
        return self._learner.erase(
            np.concatenate([hash_ids(listed, key) for key in (salt_key(salt), session_salt(salt))])
        )

    def model(self) -> Model:
        """The model of this moment, for answers and tests. It reads the live tables, without a copy."""
        return Model(self.settings, views_of(self.tables), self.readable_state())

    def checkpoint(self) -> Checkpoint:
        """Everything that was written since the last checkpoint."""
        return self._completed(self.tables.checkpoint())

    def next_part(self, most_blocks: int) -> Checkpoint | Delta:
        """The next part of a checkpoint that would hold learning up for too long at once (see `Tables.next_part`).

        Args:
            most_blocks: the largest number of blocks that are copied in this call.

        Returns:
            A delta while there are more blocks to take, then the checkpoint. The deltas come before it and have to be
            folded into it (`stream.state.folding.fold_all`).
        """
        delta, done = self.tables.next_part(most_blocks)
        if not done:
            return delta
        return self._completed(delta)

    def _completed(self, delta: Delta) -> Checkpoint:
        anew, self._anew = self._anew, False
        return Checkpoint(delta, self.readable_state(), self._end_journal(), whole=anew, reshaped=anew)

    def snapshot(self) -> Checkpoint:
        """A keyframe of this moment; the next `checkpoint` is not affected."""
        return Checkpoint(self.tables.snapshot(), self.readable_state(), self._journal())

    def readable_state(self) -> dict[str, Any]:
        """The small part of the state in plain JSON types: offsets, counters, clock, measurements, drift."""
        return {
            "format": STATE_FORMAT,
            "names": TODAY,
            "layout": self._layout,
            "offsets": self.logs.offsets(),
            "logs": self.logs.to_state(),
            "counters": {origin: dict(counts) for origin, counts in self.counters.items()},
            "ahead": dict(self.ahead),
            "clock": self.clock,
            "partition": self.partition,
            "shards": self.shards,
            "rows": self._learner.rows(),
            "finite": True,
            "processor": processor_family(),
            "metrics": self._learner.metrics(),
            "drift": self._learner.detectors.signals(),
        }

    def _end_journal(self) -> Journal:
        """The journal of the batches since the last checkpoint; the next one begins empty."""
        journal = self._journal()
        self._rates, self._bounds, self._before = [], [], self.logs.offsets()
        self._isolated, self._counted = {}, {}
        return journal

    def _journal(self) -> Journal:
        keys = self.logs.keys(TOPIC_TYPES)
        column = {key: number for number, key in enumerate(keys)}
        offsets = np.empty((len(self._bounds), len(keys)), np.int64)
        reached = np.array([self._before.get(key, 0) for key in keys], np.int64)
        for row, bounds in zip(offsets, self._bounds, strict=True):
            for key, offset in bounds.items():
                reached[column[key]] = offset
            row[:] = reached
        return Journal(
            keys,
            np.array(self._rates, np.float64),
            offsets,
            {key: sorted(places) for key, places in self._isolated.items()},
            {key: sorted(places) for key, places in self._counted.items()},
        )

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
        mapping: MappingPlan | None = None,
        max_future_seconds: float = 300.0,
        version_settings: Mapping[str, Any] = NO_SETTINGS,
        schemas: KnownSchemas | None = None,
    ) -> Shard:
        """The shard that continues from a version exactly as the one that wrote it.

        With larger capacities, or other sources or features, tables are made anew (`migration`), and the next
        checkpoint is whole.

        Args:
            settings: of the shard.
            tables: filled with the version's, of its shapes (`stored_specs`). Don't use them afterwards.
            state: the version's readable part, see `readable_state`.
            partition, shards, fields, mapping, max_future_seconds, schemas: as for the class.
            version_settings: of the version; they count if the state says nothing of its capacities.

        Raises:
            UnknownState: a later release wrote the state, or it can't be brought to these settings.
        """
        if state.get("format", 1) > STATE_FORMAT:
            raise UnknownState(
                f"the state of shard {partition} has format {state['format']}, and this release reads up to "
                f"{STATE_FORMAT}: start the release that wrote it"
            )
        names, layout = names_in(state), state.get("layout", {})
        if (wrong := difference(names) or misfit(layout)) is not None:
            raise UnknownState(wrong)
        learned = learned_settings(settings, layout, version_settings)
        try:
            tables, migration = migrated(tables, names, learned, settings)
        except WrongCapacity as error:
            raise UnknownState(str(error)) from None
        mended = {} if state.get("finite") else mend(tables)  # a state of a release that checked no cuts
        shard = cls(
            settings,
            partition=partition,
            shards=shards,
            fields=fields,
            mapping=mapping,
            max_future_seconds=max_future_seconds,
            tables=tables,
            schemas=schemas,
        )
        shard.migration, shard._anew = migration, bool(migration)
        shard.logs = Logs.from_state(state)
        shard._before = shard.logs.offsets()
        for origin, counts in state["counters"].items():
            shard.counters[origin] = {**dict.fromkeys(COUNTERS, 0), **counts}
        shard.ahead |= state.get("ahead", {})
        shard.mended = mended
        return shard


def _range_of(values: NDArray[np.float32]) -> RatingRange | None:
    """The range of the values of ratings, NaN for events that are none; None if no event is one."""
    ratings = values[np.isfinite(values)]
    return RatingRange(len(ratings), float(ratings.min()), float(ratings.max())) if ratings.size else None
