"""Files whose rows are records of another form: they become events by a mapping, as records of Kafka do.

A row of a table is a record by the names of its columns, without its empty cells; a JSON line is the record itself. The
verdict on a record is that of the worker (`stream.ingest.mapping.mapped_decoder`): its events are read all or none, and
one that is bad makes the whole record unreadable. A record that the mapping leaves out is counted by its rule. An event
without a time is bad here, because a row has no other one.

This file decides what becomes of a record, and which columns a table needs for a mapping.

>>> from stream.ingest.mapping.plan import plan_of
>>> plan = plan_of("topics: {purchases: {fields: {item: 'lines[].sku', user: who, timestamp: at}}}", "shop.yaml")
>>> rows = RecordMapping(plan.topics["purchases"], "shop.yaml").rows_of_lines(
...     [7], [b'{"who": "ada", "at": 5, "lines": [{"sku": "tea"}, {"sku": "cup"}]}'], print
... )
>>> rows.lines, rows.seconds.tolist(), rows.cells["item"], rows.cells["event"]
([7, 7], [5.0, 5.0], ['tea', 'cup'], ['purchase', 'purchase'])
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.events import MAX_NESTING, Event, Feedback, Purchase, check_event, text_of
from stream.ingest.files.columns import COLUMNS, NUMBERS, WrongFile
from stream.ingest.files.row_checks import BadRow, all_good
from stream.ingest.mapping.nearest import did_you_mean
from stream.ingest.mapping.paths import text_of_path
from stream.ingest.mapping.plan import Mapped, TopicPlan
from stream.ingest.mapping.rules import PreparedRule
from stream.ingest.record_checks import DecoderByOrigin, check_value, undecodable, without_mark
from stream.ingest.records import Record
from stream.values import InvalidEvent, RatingScale, has_time, number_of, seconds_of

UNMAPPED_ELEMENTS = "unmapped_elements"
"""Count of elements of lists that no rule fits, in records that have other events."""

_FIELDS = tuple(column for column in COLUMNS if column not in {"ts", "event"})


class MappedRows(NamedTuple):
    """The events of some records.

    Attributes:
        lines: line of the record of each event.
        seconds: (n,) times, in seconds since the epoch.
        cells: by column, the cell of each event; None where it has none.
        left_out: number of records that the mapping leaves out, by rule, and of elements (`UNMAPPED_ELEMENTS`).
    """

    lines: list[int]
    seconds: NDArray[np.float64]
    cells: dict[str, list[str | None]]
    left_out: Counter[str]


class RecordMapping:
    """The mapping of a file's records.

    Args:
        plan: of the topic whose records are in the file.
        name: of the mapping, for messages.
        scale: the values that a rating may have; None allows all.
        given: the name as a command takes it; that of a ready-made mapping has no ending. `name` if not given.
    """

    def __init__(
        self, plan: TopicPlan, name: str, scale: RatingScale | None = None, *, given: str | None = None
    ) -> None:
        self.plan = plan
        self.name = name
        self.given = given or name
        self._scale = scale
        self._readers = DecoderByOrigin({plan.topic: plan.read})

    @property
    def names(self) -> frozenset[str]:
        """Fields of a record, or columns of a table, that the mapping reads."""
        return frozenset(self.plan.forest.names)

    def time_column(self, header: Sequence[str]) -> str | None:
        """The column of a table that has the time of its first rule, or None."""
        for rule in self.plan.rules:
            source = rule.sources.get("timestamp")
            for path in source.paths if source is not None else ():
                if len(path) == 1 and path[0] in header:
                    return str(path[0])
        return None

    def check_header(self, path: Path, header: Collection[str]) -> None:
        """Raises `WrongFile` if no rule finds an item, a visitor and a time in a table with these columns."""
        first: WrongFile | None = None
        for rule in self.plan.rules:
            missing = next(
                (field for field in ("item", "user", "timestamp") if not self._finds(rule, field, header)), None
            )
            if missing is None:
                return
            first = first or self._missing(path, rule, missing, header)
        if first is not None:
            raise first

    @staticmethod
    def _finds(rule: PreparedRule, field: str, header: Collection[str]) -> bool:
        fields = ("user", "session") if field == "user" else (field,)
        sources = [rule.sources[each] for each in fields if each in rule.sources]
        return any(
            source.constant is not None or any(path and path[0] in header for path in source.paths)
            for source in sources
        )

    def _missing(self, path: Path, rule: PreparedRule, field: str, header: Collection[str]) -> WrongFile:
        source = rule.sources.get(field)
        if source is None:
            return WrongFile(
                f"{self.name}, line {rule.line}: no source for {field}; a row of {path} has no other one, as a record "
                "in Kafka has"
            )
        wanted = text_of_path(source.paths[0])
        return WrongFile(
            f"{path}: no column '{wanted}', which {self.name}, line {source.line}, reads as {field}. "
            f"{did_you_mean(wanted, header)}"
        )

    def rows_of_lines(self, lines: Sequence[int], values: Sequence[bytes], bad_row: BadRow) -> MappedRows:
        """The events of records that are JSON.

        Args:
            lines: line of each record.
            values: the records.
            bad_row: called for each record that can't be read.
        """
        try:
            at_once = self.plan.read_flat(values) if max(map(len, values), default=0) <= 2 * MAX_NESTING else None
        except (MemoryError, OSError):
            raise
        except Exception:  # its reason is looked for in `_read`
            at_once = None
        if at_once is not None:
            rows = self._all_at_once(list(lines), at_once)
            if rows is not None:
                return rows
        return self._checked(self._read(lines, values, bad_row), bad_row)

    def rows_of_records(
        self, lines: Sequence[int], records: Sequence[Mapping[str, Any]], bad_row: BadRow
    ) -> MappedRows:
        """The events of decoded records, or of rows of a table by their columns. Arguments as `rows_of_lines`."""
        return self._checked(self._map(lines, records, bad_row), bad_row)

    def _read(self, lines: Sequence[int], values: Sequence[bytes], bad_row: BadRow) -> Iterator[tuple[int, Mapped]]:
        for line, value in zip(lines, values, strict=True):
            try:
                if len(value) > 2 * MAX_NESTING:
                    check_value(value)
                yield line, self.plan.read(without_mark(value))
            except (MemoryError, OSError):
                raise
            except Exception:  # the reason is that of the worker
                bad_row(line, undecodable(Record(self.plan.topic, 0, 0, value), self._readers).reason)

    def _map(
        self, lines: Sequence[int], records: Sequence[Mapping[str, Any]], bad_row: BadRow
    ) -> Iterator[tuple[int, Mapped]]:
        for line, record in zip(lines, records, strict=True):
            try:
                yield line, self.plan.read_fields(record)
            except (InvalidEvent, msgspec.MsgspecError) as error:
                bad_row(line, str(error))

    def _checked(self, found: Iterator[tuple[int, Mapped]], bad_row: BadRow) -> MappedRows:
        """The events of all records of which every event is good."""
        left_out: Counter[str] = Counter()
        lines: list[int] = []
        events: list[Event] = []
        for line, mapped in found:
            if mapped.left_out:
                left_out[mapped.left_out] += 1
                continue
            if reason := self._wrong_with(mapped):
                bad_row(line, reason)
                continue
            left_out[UNMAPPED_ELEMENTS] += mapped.unmapped
            lines += [line] * len(mapped.events)
            events += mapped.events
        seconds = np.array([seconds_of(event.timestamp or 0) for event in events], np.float64)
        return MappedRows(lines, seconds, _without_blanks(_cells_of(events)), +left_out)

    def _wrong_with(self, mapped: Mapped) -> str | None:
        """The reason why a record can't be read, which names its event if there are several; or None."""
        for number, event in enumerate(mapped.events):
            try:
                check_event(event, math.inf, scale=self._scale)
                if not has_time(event.timestamp):
                    raise InvalidEvent("timestamp: nothing; a record in a file has no other time than its own")
            except InvalidEvent as error:
                several = len(mapped.events) > 1
                return f"{error} (event {number} of the record)" if several else str(error)
        return None

    def _all_at_once(self, lines: list[int], events: Sequence[Event]) -> MappedRows | None:
        """The rows of events in which nothing is wrong; None if each has to be checked by itself."""
        cells = _cells_of(events)
        values = cells.get("value", [])
        if self._scale is not None and any(values):
            return None
        times = ["" if event.timestamp is None else event.timestamp for event in events]
        seconds = all_good({"ts": times, **cells})
        if seconds is None or not seconds.all():
            return None
        return MappedRows(lines, seconds, _without_blanks(cells), Counter())


def _cells_of(events: Sequence[Event]) -> dict[str, list[str]]:
    """Cells of events by column, as text; empty where an event has nothing. Columns without any cell are left out."""
    cells: dict[str, list[str]] = {"event": list(map(_kind_of, events))}
    for field in _FIELDS:
        values = [getattr(event, field, None) for event in events]
        if field in NUMBERS:
            texts = ["" if (number := number_of(field, value)) is None else repr(number) for value in values]
        else:
            texts = ["" if value is None else _text(value) for value in values]
        if any(texts) or field == "item":
            cells[field] = texts
    return cells


def _kind_of(event: Event) -> str:
    if isinstance(event, Feedback):
        return event.kind
    return "purchase" if isinstance(event, Purchase) else "click"


def _text(value: int | str) -> str:
    """An id, a consent, or the field `bot`, which may be true or false."""
    return str(value).lower() if isinstance(value, bool) else text_of(value)


def _without_blanks(cells: Mapping[str, Sequence[str]]) -> dict[str, list[str | None]]:
    return {column: [cell or None for cell in texts] for column, texts in cells.items()}
