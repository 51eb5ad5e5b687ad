"""Decoding of the records of mapped topics: one record becomes one event, several, or none.

A record is learned whole or not at all. If one of its events is bad, or its time too far ahead, the record is rejected
with all of them, so a dead letter that is sent again repeats nothing. An event that is left out on purpose
(`stream.ingest.left_out`) leaves the others of its record alone. All rows of a record stand side by side in one batch,
and batches are cut between records, so no state has a part of one.

This file decides what becomes of a record some of whose events can't be learned, and which batches take the way without
a step for each record: flat rules, whose records become one event each, by a few calls in C.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from stream.events import MAX_NESTING, TOPIC_TYPES, Event
from stream.ingest.decoding import Decoder, _kept
from stream.ingest.mapping.plan import UNMAPPED, Mapped, TopicPlan
from stream.ingest.origins import topic_of
from stream.ingest.record_checks import DecoderByOrigin, check_value, undecodable, unlearnable, without_mark
from stream.ingest.records import Record, Rejection
from stream.models.batch import EventBatch
from stream.models.settings import ModelSettings

_origin, _value = itemgetter(0), itemgetter(3)

_TOPIC_OF: dict[type, str] = {}
"""Our topic of a type of events."""


def home_of(event: Event) -> str:
    """Our topic of an event's kind, from whichever topic its record came."""
    kind = type(event)
    if kind not in _TOPIC_OF:
        _TOPIC_OF[kind] = next(topic for topic, each in TOPIC_TYPES.items() if issubclass(kind, each))
    return _TOPIC_OF[kind]


class MappedDecoder(Decoder):
    """Decodes batches of which some records are mapped.

    Args:
        settings: weights of kinds, and the salt under which visitors are hashed.
        plans: by our name of the topic; records of other topics are events in our own form.
        max_future_seconds: how far the time of an event may be ahead of the timestamp of its record.
        fields: our field name to the producers', for topics without a plan.
    """

    def __init__(
        self,
        settings: ModelSettings,
        plans: Mapping[str, TopicPlan],
        max_future_seconds: float = 300.0,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(settings, fields, max_future_seconds)
        self._plans = dict(plans)
        readers: dict[str, Any] = {topic: self._decoders[topic] for topic in TOPIC_TYPES}
        self._readers = DecoderByOrigin(readers | {topic: plan.read for topic, plan in plans.items()})
        self._direct = {topic: self._decoders[topic] for topic in TOPIC_TYPES if topic not in plans}
        """Decoders of topics whose records are events, perhaps with other names."""
        for topic, plan in plans.items():
            if plan.decode_directly is not None and plan.at_home:
                self._direct[topic] = plan.decode_directly

    def _whole(
        self,
        records: Sequence[Record],
        unknown_kinds: Counter[str] | None = None,
        left_out: Counter[tuple[str, str]] | None = None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        topic_by_origin = {origin: topic_of(origin) for origin in set(map(_origin, records))}
        if self._direct.keys() >= set(topic_by_origin.values()):
            return self._directly(records, topic_by_origin, unknown_kinds, left_out)
        return self._by_topic(records, topic_by_origin, unknown_kinds, left_out)

    def _by_topic(
        self,
        records: Sequence[Record],
        topic_by_origin: Mapping[str, str],
        unknown_kinds: Counter[str] | None,
        left_out: Counter[tuple[str, str]] | None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Rows and rejections of records whose topics are decoded one after another, each at once if possible."""
        places_of: dict[str, list[int]] = {topic: [] for topic in topic_by_origin.values()}
        for place, origin in enumerate(map(_origin, records)):
            places_of[topic_by_origin[origin]].append(place)
        found: list[Any] = [None] * len(records)
        plain, at_home = True, True
        for topic, places in places_of.items():
            plan = self._plans.get(topic)
            of_topic = [records[place] for place in places]
            events = self._at_once(topic, list(map(_value, of_topic)))
            plain = plain and events is not None
            at_home = at_home and (plan is None or plan.at_home)
            for place, each in zip(places, events or self._one_by_one(of_topic), strict=True):
                found[place] = each
        if plain:
            homes = records if at_home else self._under_home(found, records)
            batch, bad = self._batch(found, homes)
            if not bad:
                self._note_kinds(batch, found, unknown_kinds)
                return batch, list(records), []
        return self._several(records, found, unknown_kinds, left_out)

    def _directly(
        self,
        records: Sequence[Record],
        topic_by_origin: Mapping[str, str],
        unknown_kinds: Counter[str] | None,
        left_out: Counter[tuple[str, str]] | None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Rows and rejections of records that are decoded without a tree; those that need one are looked at by it."""
        decoders = {origin: self._direct[topic] for origin, topic in topic_by_origin.items()}
        found, others = self._events(records, decoders)
        if not others:
            batch, bad = self._batch(found, records)
            if not bad:
                self._note_kinds(batch, found, unknown_kinds)
                return batch, list(records), []
            return self._several(records, found, unknown_kinds, left_out)
        looked_at = iter(self._one_by_one([records[place] for place in others]))
        places, decoded = set(others), iter(found)
        whole = [next(looked_at if place in places else decoded) for place in range(len(records))]
        return self._several(records, whole, unknown_kinds, left_out)

    def _at_once(self, topic: str, values: Sequence[Any]) -> list[Event] | None:
        """The event of each value; None if the rules aren't flat, or a value needs a closer look."""
        plan = self._plans.get(topic)
        try:
            return list(map(self._decoders[topic], values)) if plan is None else plan.read_flat(values)
        except (MemoryError, OSError):
            raise
        except Exception:  # its reason is looked for in `undecodable`
            return None

    def _one_by_one(self, records: Sequence[Record]) -> list[Mapped | Event | Rejection]:
        """Each record by itself: its events, or the reason why it has none."""
        found: list[Mapped | Event | Rejection] = []
        for record in records:
            try:
                if record.value is not None and len(record.value) > 2 * MAX_NESTING:
                    check_value(record.value)
                found.append(self._readers[record.origin](without_mark(record.value)))
            except (MemoryError, OSError):
                raise
            except Exception:  # its reason is looked for in `undecodable`
                found.append(undecodable(record, self._readers))
        return found

    @staticmethod
    def _json_of(value: bytes | None) -> bytes:
        """The text of a record, whose length and nesting are checked."""
        return value or b""

    @staticmethod
    def _under_home(events: Sequence[Event], records: Sequence[Record]) -> list[Record]:
        """The records of events under our topic of their kinds."""
        return [Record(home_of(event), *record[1:]) for event, record in zip(events, records, strict=True)]

    def _several(
        self,
        records: Sequence[Record],
        found: Sequence[Mapped | Event | Rejection],
        unknown_kinds: Counter[str] | None,
        left_out: Counter[tuple[str, str]] | None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """The rows of all records of which every event is good, and a rejection for each other one."""
        rejections: dict[int, Rejection] = {}
        unmapped: dict[int, int] = {}
        events: list[Event] = []
        owners: list[int] = []
        for place, each in enumerate(found):
            if isinstance(each, Rejection):
                rejections[place] = each
            elif isinstance(each, Mapped):
                if each.left_out:
                    rejections[place] = Rejection(records[place], each.reason, unlearned=each.left_out)
                if each.unmapped:
                    unmapped[place] = each.unmapped
                events += each.events
                owners += [place] * len(each.events)
            else:
                events.append(each)
                owners.append(place)
        bodies = list(map(self._json_of, map(_value, records)))
        row_records = [
            Record(home_of(event), records[place].offset, records[place].timestamp_ms, bodies[place])
            for event, place in zip(events, owners, strict=True)
        ]
        batch, bad = self._batch(events, row_records)
        removed = self._removed(sorted(bad), records, events, row_records, owners, rejections)
        gone = sorted({row for row, place in enumerate(owners) if place in rejections}.union(removed))
        if gone:
            batch = _kept(batch, gone)
            kept = np.delete(np.arange(len(events)), gone).tolist()
            events, owners = [events[row] for row in kept], [owners[row] for row in kept]
        self._note_kinds(batch, events, unknown_kinds)
        if left_out is not None:
            for place, rule in removed.values():
                if place not in rejections or rejections[place].unlearned:
                    left_out[records[place].origin, rule] += 1
            for place, count in unmapped.items():
                if place not in rejections or rejections[place].unlearned:
                    left_out[records[place].origin, UNMAPPED] += count
        return batch, [records[place] for place in owners], [rejections[place] for place in sorted(rejections)]

    def _removed(
        self,
        bad: Sequence[int],
        records: Sequence[Record],
        events: Sequence[Event],
        row_records: Sequence[Record],
        owners: Sequence[int],
        rejections: dict[int, Rejection],
    ) -> dict[int, tuple[int, str]]:
        """The rows that are left out on purpose, each with the place of its record and the rule.

        A rejection of the record of every other bad row is added to `rejections`, and of each record that has no row
        but such ones.

        Args:
            bad: rising numbers of rows.
            records: the batch.
            events, row_records, owners: event, record under our topic of its kind, and place of its record, by row.
            rejections: by place of the record.
        """
        removed: dict[int, tuple[int, str]] = {}
        rows_of, rows_left = Counter(owners), Counter(owners)
        first_row = {place: row for row, place in reversed(list(enumerate(owners)))} if bad else {}
        for row in bad:
            place = owners[row]
            if place in rejections:
                continue
            verdict = unlearnable(
                row_records[row], events[row], self._max_future_seconds, self._settings.scale, self._left_out
            )._replace(record=records[place])
            if not verdict.unlearned:
                which = f" (event {row - first_row[place]} of the record)" if rows_of[place] > 1 else ""
                rejections[place] = verdict._replace(reason=verdict.reason + which)
                continue
            removed[row] = place, verdict.unlearned
            rows_left[place] -= 1
            if not rows_left[place]:
                rejections[place] = verdict
        return removed
