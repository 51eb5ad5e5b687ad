"""`corrente replay`: a history from a file, sent into a running system again.

This file decides which events a file becomes, when each is due and the time that it carries. Sending is decided in
`simulators.senders`, reading files in `stream.ingest.files.reading`.

**Counts close.** Every row of the file is unreadable, or left out by its mapping, or sent as one or more events, and
every sent event is acknowledged, refused or failed; with `--check` the system's own counters are compared, and they
have to close too.

**Times.** `shift` moves the whole history so that it ends when the replay ends, and keeps every distance between
events; `keep` sends the times of the file as they are. Rows are sent in file order; a row whose time is earlier than
that of the row before it is sent right behind it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from simulators.client import TOPIC_OF_KIND, Client
from stream.ingest.files.columns import NUMBERS, WrongFile
from stream.ingest.files.delimited import UNKNOWN_FORM, TableForm
from stream.ingest.files.mapped import UNMAPPED_ELEMENTS, RecordMapping
from stream.ingest.files.reading import Chunk, read_chunks
from stream.ingest.files.row_checks import NumberIds, kind_of_reason
from stream.ingest.mapping.plan import EVENT, OWN

BATCH_EVENTS = 500
BATCH_SECONDS = 0.1
"""Events that are due within this time are sent in one batch."""
MAX_PROBLEMS = 5
COUNTERS = ("read", "learned", "duplicates", "refused", "dead_letters", "unlearned")
"""Counts of the system. `unlearned` is the sum of all records that it leaves out on purpose."""

Times = Literal["shift", "keep"]


@dataclass
class Outcome:
    """Counts of sent events: `refused` were rejected by the system as invalid, `failed` got no answer."""

    acknowledged: int = 0
    refused: int = 0
    failed: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.acknowledged += other.acknowledged
        self.refused += other.refused
        self.failed += other.failed
        self.reasons = [*self.reasons, *other.reasons][:MAX_PROBLEMS]


@dataclass
class Report:
    """The counts of one replay; `closed` is true if they add up."""

    unreadable: int = 0
    sent: int = 0
    rows_sent: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    by_topic: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Number of unreadable rows by reason, without the values in it."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of records that a mapping leaves out, by rule, and of elements of lists (`UNMAPPED_ELEMENTS`)."""
    cautions: list[str] = field(default_factory=list)
    """Sentences about rows that were sent and are doubtful."""
    seen: dict[str, int] | None = None
    """Increase of the system's own counters during the replay, or None if they were not read."""

    @property
    def rows(self) -> int:
        """Number of rows of the file that were read."""
        return self.unreadable + self.records_left_out + self.rows_sent

    @property
    def records_left_out(self) -> int:
        """Number of rows that the mapping leaves out."""
        return sum(count for rule, count in self.left_out.items() if rule != UNMAPPED_ELEMENTS)

    @property
    def closed(self) -> bool:
        outcome = self.outcome
        answered = self.sent == outcome.acknowledged + outcome.refused + outcome.failed
        if self.seen is None:
            return answered
        became = sum(self.seen[counter] for counter in COUNTERS[1:])
        return answered and self.seen["read"] == became and self.seen["read"] >= outcome.acknowledged

    def summary(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "rows": self.rows,
            "unreadable": self.unreadable,
            "sent": self.sent,
            "acknowledged": self.outcome.acknowledged,
            "refused": self.outcome.refused,
            "failed": self.outcome.failed,
            "by_topic": self.by_topic,
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self.sent / self.seconds, 1) if self.seconds else 0.0,
            "seen": self.seen,
            "closed": self.closed,
            "problems": [*self.problems, *self.outcome.reasons][:MAX_PROBLEMS],
            "unreadable_by_reason": dict(self.reasons.most_common()),
            "left_out_by_rule": dict(self.left_out),
            "cautions": self.cautions,
        }


class Sender(Protocol):
    """A way into the system: HTTP, or Kafka."""

    async def send(self, topic: str, events: list[dict[str, Any]]) -> Outcome: ...


@dataclass(frozen=True)
class Plan:
    """Description of a replay.

    Attributes:
        path: file to read.
        columns: Corrente's column name to the file's, for those that differ.
        kind: kind of every event, for a file without a column for it.
        speed: factor by which the replay is faster than the history; `None` sends as fast as possible.
        times: `shift` or `keep`, see the module.
        fields: Corrente's field name to the one that the system expects (`CORRENTE_FIELDS`).
        mapped: topics that the system maps (`CORRENTE_MAPPING`); they take events of our form in a field of ours.
        limit: largest number of rows.
        form: the form of a table, as far as it is known.
        mapping: by which the file is read, if its records have another form.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = None
    speed: float | None = None
    times: Times = "shift"
    fields: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    form: TableForm = UNKNOWN_FORM
    mapped: Collection[str] = ()
    mapping: RecordMapping | None = None


@dataclass(frozen=True)
class Span:
    """The first and last time in a file, in seconds since 1970."""

    first: float
    last: float

    @classmethod
    def of(cls, plan: Plan) -> Span:
        """Read the whole file once.

        Raises:
            WrongFile: it can't be read, or no row of it is an event.
        """
        first_problem = ""

        def unreadable(line: int, reason: str) -> None:
            nonlocal first_problem
            first_problem = first_problem or f"; line {line}: {reason}"

        bounds = [
            (chunk.seconds.min(), chunk.seconds.max())
            for chunk in _limited(plan, unreadable)
            if len(chunk)  # all of its rows may be unreadable
        ]
        if not bounds:
            raise WrongFile(f"{plan.path}: no row of it can be read as an event{first_problem}")
        return cls(float(min(low for low, _ in bounds)), float(max(high for _, high in bounds)))


async def replay(plan: Plan, sender: Sender, *, span: Span, progress: Callable[[int, Report], None]) -> Report:
    """Send a file, to its end or until events fail after every retry.

    Args:
        plan: description of the replay.
        sender: way into the system.
        span: first and last time of the same file.
        progress: is called with the number of bytes of the file that are done, and the counts so far.

    Raises:
        WrongFile: the file changed since its span was read.
    """
    report = Report()
    run = uuid.uuid4().hex[:12]
    began = time.time()
    shift = began + ((span.last - span.first) / plan.speed if plan.speed else 0.0) - span.last

    def unreadable(line: int, reason: str) -> None:
        report.unreadable += 1
        report.reasons[kind_of_reason(reason)] += 1
        report.problems = [*report.problems, f"line {line}: {reason}"][:MAX_PROBLEMS]

    sent_line = 0
    number_ids = {column: NumberIds() for column in ("item", "user", "session")}
    for chunk in _limited(plan, unreadable):
        for column, ids in number_ids.items():
            ids.add(chunk.cells.get(column, ()))
        report.cautions = [sentence for column, ids in number_ids.items() for sentence in ids.sentences(column)]
        report.left_out.update(chunk.left_out)
        times = chunk.seconds + shift if plan.times == "shift" else chunk.seconds
        events = list(_events(chunk, times, run, plan))
        due = began + (np.maximum.accumulate(chunk.seconds) - span.first) / plan.speed if plan.speed else None
        async for batch in _paced(events, due):
            sent_line = _count_rows(batch, sent_line, report)
            await _send(batch, sender, report, plan.mapped)
            report.seconds = time.time() - began
            progress(chunk.file_bytes, report)
            if report.outcome.failed:  # the sender has retried already
                return report
    return report


async def wait_until_learned(
    client: Client, before: Mapping[str, int], report: Report, patience_seconds: float
) -> dict[str, int]:
    """Wait until the system has read what it acknowledged; the increase of its counters since `before`."""
    deadline = time.monotonic() + patience_seconds
    while True:
        now = counters(client)
        moved = {counter: now[counter] - before[counter] for counter in COUNTERS}
        if moved["read"] >= report.outcome.acknowledged or time.monotonic() > deadline:
            return moved
        await asyncio.sleep(0.2)


def counters(client: Client) -> dict[str, int]:
    """Counters of the newest version, summed over all shards and topics."""
    newest = client.version("latest") or {"shards": {}}
    topics = [topic for shard in newest["shards"].values() for topic in shard["counters"].values()]
    return {counter: sum(_count(topic, counter) for topic in topics) for counter in COUNTERS}


def _count(by_outcome: Mapping[str, int], counter: str) -> int:
    if counter == "unlearned":
        return sum(count for outcome, count in by_outcome.items() if outcome.startswith("unlearned:"))
    return by_outcome.get(counter, 0)


def _limited(plan: Plan, bad_row: Callable[[int, str], None]) -> Iterator[Chunk]:
    """Chunks of the first rows; a record that becomes several events is one row."""
    left = plan.limit
    chunks = read_chunks(plan.path, plan.columns, kind=plan.kind, bad_row=bad_row, form=plan.form, mapping=plan.mapping)
    for chunk in chunks:
        begins = [row for row, line in enumerate(chunk.lines) if not row or chunk.lines[row - 1] != line]
        if left is None or len(begins) <= left:
            yield chunk
            left = None if left is None else left - len(begins)
        else:
            end = begins[left]
            cells = {column: cells[:end] for column, cells in chunk.cells.items()}
            yield Chunk(chunk.lines[:end], chunk.seconds[:end], cells, chunk.file_bytes)
            left = 0
        if left == 0:
            return


class _Sent(NamedTuple):
    """An event on its way: our topic, its fields, and the line of its row."""

    topic: str
    event: dict[str, Any]
    line: int


def _events(chunk: Chunk, times: np.ndarray, run: str, plan: Plan) -> Iterator[_Sent]:
    """Make an event of each row. Rows without an id get one of this replay, so that a retry counts once."""
    names = {name: plan.fields.get(name, name) for name in (*chunk.cells, "timestamp", "event_id", "kind")}
    columns = list(chunk.cells)
    of_line, last = 0, 0
    for line, seconds, row in zip(chunk.lines, times.tolist(), zip(*chunk.cells.values(), strict=True), strict=True):
        cells = {column: cell for column, cell in zip(columns, row, strict=True) if cell is not None}
        kind = cells.pop("event")
        of_line, last = (of_line + 1 if line == last else 0), line
        identifier = f"replay-{run}-{line}#{of_line}" if of_line else f"replay-{run}-{line}"
        event: dict[str, Any] = {names["timestamp"]: seconds, names["event_id"]: identifier}
        event |= {names[column]: float(cell) if column in NUMBERS else cell for column, cell in cells.items()}
        topic = TOPIC_OF_KIND.get(kind, "feedback")
        if topic == "feedback":
            event[names["kind"]] = kind
        yield _Sent(topic, event, line)


def _count_rows(batch: Sequence[_Sent], last: int, report: Report) -> int:
    """Count the rows of a batch behind the last line that is counted, and return the last line."""
    for sent in batch:
        report.rows_sent += sent.line != last
        last = sent.line
    return last


async def _paced(events: list[_Sent], due: np.ndarray | None) -> AsyncIterator[list[_Sent]]:
    """Yield events in batches, each when its last event is due, so that no event carries a future time."""
    start = 0
    while start < len(events):
        end = min(start + BATCH_EVENTS, len(events))
        if due is not None:
            end = min(end, int(np.searchsorted(due, due[start] + BATCH_SECONDS, "right")))
            await asyncio.sleep(max(0.0, float(due[end - 1]) - time.time()))
        yield events[start:end]
        start = end


async def _send(batch: list[_Sent], sender: Sender, report: Report, mapped: Collection[str]) -> None:
    """Send a batch, topic by topic, each in file order."""
    for topic in ("clicks", "purchases", "feedback"):
        if events := [event for of, event, _ in batch if of == topic]:
            report.sent += len(events)
            report.by_topic[topic] = report.by_topic.get(topic, 0) + len(events)
            if topic in mapped:
                events = [{OWN: {EVENT: event}} for event in events]
            report.outcome.add(await sender.send(topic, events))
