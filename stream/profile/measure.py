"""Figures of a file of events.

This file decides which figures a profile has, and how they are counted. It goes through a file once, and keeps ids as
numbers: about 50 bytes an event, and each different id once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream.ingest.files.columns import NUMBERS
from stream.ingest.files.reading import Chunk
from stream.ingest.files.row_checks import kind_of_reason
from stream.ingest.kinds import is_known, kinds_of_rows, unknown_kind_sentence
from stream.ingest.left_out import LeftOut
from stream.profile.suspicious import suspicious_ids
from stream.profile.timeline import Timeline, timeline_of
from stream.values import RatingScale

SESSION_PAUSE_SECONDS = 1800
"""A pause of a visitor that ends a session, in a file that names none."""

GIANT_SHARE, GIANT_EVENTS = 0.05, 100
"""A visitor is called giant from this share of the events and this number of them on."""

QUANTILES = (0.5, 0.9, 0.99, 1.0)
CURVE_POINTS = 60
SHARES = (0.01, 0.1, 0.5)


@dataclass(frozen=True)
class Reason:
    """Unreadable rows with the same reason: their number, the first line, and its reason in full."""

    rows: int
    line: int
    reason: str


@dataclass(frozen=True)
class Ids:
    """A column of ids.

    Attributes:
        distinct: number of different ids.
        missing: events without one.
        per_id: events of an id at the quantiles 50, 90, 99 and 100 %.
    """

    distinct: int
    missing: int
    per_id: list[int]


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: how many there are, their range, their mean, and how many are 0 and negative."""

    count: int
    least: float
    most: float
    mean: float
    zero: int
    negative: int


@dataclass(frozen=True)
class Sessions:
    """Sessions: named by the file, or cut where a visitor pauses for half an hour.

    Attributes:
        named: True if the file names them.
        count: number of sessions.
        events: of a session at the quantiles 50, 90, 99 and 100 %.
        seconds: from the first to the last event of a session, at the same quantiles.
    """

    named: bool
    count: int
    events: list[int]
    seconds: list[float]


@dataclass(frozen=True)
class Busiest:
    """The visitor, or the item, with most events, and the share of all that they are."""

    name: str
    events: int
    share: float


@dataclass(frozen=True)
class Measured:
    """The figures of a file.

    Attributes:
        rows: that were read; each is unreadable, left out by the mapping, or becomes events.
        unreadable: rows that are no event.
        reasons: of the unreadable rows, the most frequent first.
        left_out: records that a mapping leaves out, by rule.
        events: number of events.
        first, last: times of the earliest and the latest event, in seconds since the epoch.
        backwards: events that are older than the one before them.
        repeated: events with the time, visitor, item and kind of the one before them.
        repeated_ids: events whose `event_id` an earlier event has.
        kinds: events by kind, the most frequent first.
        ids: by column.
        numbers: by column.
        sessions: lengths of sessions.
        second_events: events that are learned, of visitors who had one before; these can be tested.
        popularity: share of the events that the most popular items have, as (share of items, share of events).
        top_shares: share of the events of the top 1, 10 and 50 % of the items.
        busiest_visitor, busiest_item: with most events.
        visitor_lengths, session_lengths: visitors and sessions by their events, in bins of 1, 2 to 3, 4 to 7 and so on.
        timeline: events over time.
        cautions: sentences about everything that is doubtful.
    """

    rows: int
    unreadable: int
    reasons: list[Reason]
    left_out: dict[str, int]
    events: int
    first: float
    last: float
    backwards: int
    repeated: int
    repeated_ids: int
    kinds: dict[str, int]
    ids: dict[str, Ids]
    numbers: dict[str, Numbers]
    sessions: Sessions
    second_events: int
    popularity: list[tuple[float, float]]
    top_shares: list[float]
    busiest_visitor: Busiest
    busiest_item: Busiest
    visitor_lengths: list[int]
    session_lengths: list[int]
    timeline: Timeline
    cautions: list[str]


@dataclass
class BadRows:
    """Unreadable rows, counted by reason; `add` is what a reader calls."""

    count: int = 0
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, line: int, reason: str) -> None:
        self.count += 1
        kind = kind_of_reason(reason)
        self.by_reason[kind] += 1
        self.first.setdefault(kind, (line, reason))

    def reasons(self) -> list[Reason]:
        """The most frequent reason first."""
        return [Reason(count, *self.first[kind]) for kind, count in self.by_reason.most_common()]


class _Names:
    """A column of text as numbers."""

    def __init__(self) -> None:
        self.known: dict[str | None, int] = {None: -1}
        self.parts: list[NDArray[np.int64]] = []

    def add(self, cells: Iterable[str | None]) -> None:
        known = self.known
        self.parts.append(np.array([known.setdefault(cell, len(known) - 1) for cell in cells], np.int64))

    @property
    def codes(self) -> NDArray[np.int64]:
        return np.concatenate(self.parts)

    @property
    def names(self) -> list[str]:
        return [name for name in self.known if name is not None]


def measure(
    chunks: Iterable[Chunk],
    bad_rows: BadRows,
    *,
    null_ids: Collection[str],
    consent_default: str,
    weights: Collection[str],
    scale: RatingScale,
) -> Measured | None:
    """The figures of a file; None if no row of it is an event.

    Args:
        chunks: all of the file.
        bad_rows: which the reader of the chunks fills.
        null_ids: the words that the settings take as no id.
        consent_default: consent of a row that names none.
        weights: the kinds that have a weight in the settings.
        scale: the values that a rating may have.
    """
    rules = LeftOut(null_ids, consent_default)
    kept: list[NDArray[np.bool_]] = []
    columns = {column: _Names() for column in ("item", "user", "session", "event")}
    numbers: dict[str, list[NDArray[np.float64]]] = {column: [] for column in NUMBERS}
    seconds: list[NDArray[np.float64]] = []
    left_out: Counter[str] = Counter()
    event_ids: set[bytes] = set()
    with_id = rows = last_line = 0
    for chunk in chunks:
        left_out.update(chunk.left_out)
        rows += sum(line != before for line, before in zip(chunk.lines, [last_line, *chunk.lines], strict=False))
        last_line = chunk.lines[-1] if chunk.lines else last_line
        seconds.append(chunk.seconds)
        kept.append(np.ones(len(chunk), bool))
        kept[-1][[*rules.of_rows(chunk.cells), *rules.aggregate_rows(chunk.cells)]] = False
        cells = chunk.cells | {"event": kinds_of_rows(chunk.cells)}
        for column, names in columns.items():
            names.add(cells.get(column) or [None] * len(chunk))
        for column in NUMBERS:
            given = cells.get(column) or [None] * len(chunk)
            numbers[column].append(np.array([np.nan if cell is None else float(cell) for cell in given], np.float64))
        for cell in cells.get("event_id", ()):
            if cell is not None:
                with_id += 1
                event_ids.add(hashlib.blake2b(cell.encode(), digest_size=8).digest())
    times = np.concatenate(seconds) if seconds else np.zeros(0)
    if not times.size:
        return None
    codes = {column: names.codes for column, names in columns.items()}
    names_of = {column: names.names for column, names in columns.items()}
    visitor = np.where(codes["user"] >= 0, codes["user"], codes["session"] + len(names_of["user"]))
    visitors = names_of["user"] + names_of["session"]
    kinds = dict(zip(names_of["event"], np.bincount(codes["event"]).tolist(), strict=True))
    item_counts = np.bincount(codes["item"])
    visitor_counts = np.bincount(visitor, minlength=len(visitors))
    measured_numbers = {
        column: _numbers(np.concatenate(parts)) for column, parts in numbers.items() if not _all_nan(parts)
    }
    sessions, lengths = _sessions(times, visitor, codes["session"], named=bool(names_of["session"]))
    same = np.ones(len(times) - 1, bool)
    for values in (times, visitor, codes["item"], codes["event"]):
        same &= values[1:] == values[:-1]
    curve, top = _popularity(item_counts)
    ratings = np.concatenate(numbers["value"])[codes["event"] == columns["event"].known.get("rating", -2)]
    learned = np.concatenate(kept)
    busiest = Busiest(visitors[int(visitor_counts.argmax())], int(visitor_counts.max()), 0.0)
    busiest = Busiest(busiest.name, busiest.events, busiest.events / len(times))
    result = Measured(
        rows=rows + bad_rows.count + sum(count for rule, count in left_out.items() if rule != "unmapped_elements"),
        unreadable=bad_rows.count,
        reasons=bad_rows.reasons(),
        left_out=dict(left_out),
        events=len(times),
        first=float(times.min()),
        last=float(times.max()),
        backwards=int((np.diff(times) < 0).sum()),
        repeated=int(same.sum()),
        repeated_ids=with_id - len(event_ids),
        kinds=dict(sorted(kinds.items(), key=lambda kind: -kind[1])),
        ids={
            column: Ids(
                len(names_of[column]),
                int((codes[column] < 0).sum()),
                _quantiles(np.bincount(codes[column][codes[column] >= 0])),
            )
            for column in ("item", "user", "session")
            if names_of[column]
        },
        numbers=measured_numbers,
        sessions=sessions,
        second_events=int(learned.sum()) - np.unique(visitor[learned]).size,
        popularity=curve,
        top_shares=top,
        busiest_visitor=busiest,
        busiest_item=Busiest(
            names_of["item"][int(item_counts.argmax())],
            int(item_counts.max()),
            float(item_counts.max() / len(times)),
        ),
        visitor_lengths=_by_powers(visitor_counts[visitor_counts > 0]),
        session_lengths=_by_powers(lengths),
        timeline=timeline_of(times),
        cautions=[],
    )
    for column in ("item", "user", "session"):
        if names_of[column]:
            counts = np.bincount(codes[column][codes[column] >= 0]).tolist()
            result.cautions.extend(suspicious_ids(column, names_of[column], counts, null_ids))
    result.cautions.extend(_cautions(result, kinds, weights, ratings, scale))
    return result


def _cautions(
    measured: Measured,
    kinds: dict[str, int],
    weights: Collection[str],
    ratings: NDArray[np.float64],
    scale: RatingScale,
) -> list[str]:
    """Sentences about kinds, order, repetitions, ratings and a giant visitor."""
    found = [
        f"{count:,} events: {unknown_kind_sentence(kind, weights)}"
        for kind, count in kinds.items()
        if not is_known(kind, weights)
    ]
    if measured.backwards:
        found.append(
            f"{measured.backwards:,} events are older than the event before them; sort the file by time, or the model "
            "learns them in this order"
        )
    if measured.repeated:
        found.append(f"{measured.repeated:,} events repeat the event before them; each counts as one of its own")
    if measured.repeated_ids:
        found.append(f"{measured.repeated_ids:,} events have the event_id of an earlier one; a worker counts them once")
    zero = measured.numbers.get("quantity")
    if zero is not None and zero.zero:
        found.append(f"quantity: {zero.zero:,} events have 0, which is neither a purchase nor a return")
    given = ratings[~np.isnan(ratings)]
    outside = int(((given < scale.low) | (given > scale.high)).sum())
    if outside:
        found.append(
            f"value: {outside:,} ratings are outside the scale of {scale.low:g} to {scale.high:g}, and are refused "
            "(CORRENTE_MODEL__RATING_SCALE)"
        )
    elif given.size and (sentence := scale.unused(int(given.size), float(given.min()), float(given.max()))):
        found.append(sentence)
    giant = measured.busiest_visitor
    if giant.share > GIANT_SHARE and giant.events >= GIANT_EVENTS:
        found.append(
            f"visitor {giant.name!r} has {giant.share:.0%} of the events; is it one person, "
            "a word for none, or a robot?"
        )
    return found


def _all_nan(parts: Sequence[NDArray[np.float64]]) -> bool:
    return all(bool(np.isnan(part).all()) for part in parts)


def _numbers(values: NDArray[np.float64]) -> Numbers:
    given = values[~np.isnan(values)]
    return Numbers(
        int(given.size),
        float(given.min()),
        float(given.max()),
        float(given.mean()),
        int((given == 0).sum()),
        int((given < 0).sum()),
    )


def _quantiles(counts: NDArray[np.int64]) -> list[int]:
    there = counts[counts > 0]
    return np.quantile(there, QUANTILES, method="lower").astype(np.int64).tolist() if there.size else []


def _popularity(counts: NDArray[np.int64]) -> tuple[list[tuple[float, float]], list[float]]:
    """The curve of popularity, and the shares of the events at `SHARES` of the items."""
    falling = np.sort(counts[counts > 0])[::-1]
    reached = np.cumsum(falling) / falling.sum()
    places = np.unique(np.geomspace(1, falling.size, CURVE_POINTS).astype(np.int64))
    curve = [(round(float(place / falling.size), 6), round(float(reached[place - 1]), 6)) for place in places]
    top = [round(float(reached[max(1, round(share * falling.size)) - 1]), 4) for share in SHARES]
    return curve, top


def _sessions(
    times: NDArray[np.float64], visitor: NDArray[np.int64], session: NDArray[np.int64], *, named: bool
) -> tuple[Sessions, NDArray[np.int64]]:
    """Sessions, and the number of events of each. In a file that names sessions, an event without one is in none."""
    owner = session if named else visitor
    there = np.flatnonzero(owner >= 0)
    order = there[np.lexsort((times[there], owner[there]))]
    new = np.ones(order.size, bool)
    new[1:] = owner[order][1:] != owner[order][:-1]
    if not named:
        new[1:] |= np.diff(times[order]) > SESSION_PAUSE_SECONDS
    begins = np.flatnonzero(new)
    lengths = np.diff([*begins.tolist(), order.size])
    ends = np.array([*begins[1:].tolist(), order.size]) - 1
    spans = times[order][ends] - times[order][begins]
    seconds = [round(float(each), 1) for each in np.quantile(spans, QUANTILES)]
    return Sessions(named, int(begins.size), _quantiles(lengths), seconds), lengths


def _by_powers(counts: NDArray[np.int64]) -> list[int]:
    """Numbers of counts in bins of 1, 2 to 3, 4 to 7 and so on."""
    return np.bincount(np.log2(counts).astype(np.int64)).tolist() if counts.size else []
