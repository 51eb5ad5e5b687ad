"""A profile as text.

This file decides the order, the words and the widths of what is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from stream.profile.document import Document
from stream.profile.measure import Measured

MOST_LISTED = 8
MOST_CELL = 24


def text_of(document: Document) -> str:
    """The profile as lines of text, ending with the command."""
    lines = [f"{document.file}: {document.format}", "", *_table(*_columns(document))]
    if document.measured is not None:
        lines += ["", *(f"{name:<{NAME_WIDTH}}{value}" for name, value in figures(document.measured))]
        lines += _section("unreadable rows", reasons(document.measured))
        lines += _section("to look at", document.measured.cautions)
    lines += ["", *([f"Not to be evaluated: {document.why_not}."] if document.why_not else [])]
    lines += [document.command] if document.command else []
    return "\n".join(lines)


NAME_WIDTH = 22


def figures(measured: Measured) -> Iterator[tuple[str, str]]:
    """Names and values of the figures, in their order."""
    of = measured.events
    yield "rows", f"{measured.rows:,}, {measured.unreadable:,} unreadable"
    for rule, count in measured.left_out.items():
        yield f"left out ({rule})", f"{count:,}"
    yield "events", f"{of:,}"
    yield "time", f"{moment(measured.first)} to {moment(measured.last)} (UTC), {span(measured.last - measured.first)}"
    yield "order", f"{measured.backwards:,} events are older than the one before" if measured.backwards else "rising"
    kinds = [f"{kind} {count:,} ({share(count, of)})" for kind, count in measured.kinds.items()]
    more = f", and {len(kinds) - MOST_LISTED} more" if len(kinds) > MOST_LISTED else ""
    yield "kinds", ", ".join(kinds[:MOST_LISTED]) + more
    for column, ids in measured.ids.items():
        missing = f", missing in {share(ids.missing, of)}" if ids.missing else ""
        yield f"{column}s", f"{ids.distinct:,}{missing}; events of each: {_quantiles(ids.per_id)}"
    for column, numbers in measured.numbers.items():
        extra = "".join(
            f", {count:,} {word}" for count, word in ((numbers.zero, "zero"), (numbers.negative, "negative")) if count
        )
        yield (
            column,
            (
                f"{numbers.count:,} ({share(numbers.count, of)}), {numbers.least:g} to {numbers.most:g}, "
                f"mean {numbers.mean:.4g}{extra}"
            ),
        )
    sessions = measured.sessions
    how = "named" if sessions.named else "by pauses of 30 min"
    yield (
        "session lengths",
        (
            f"{sessions.count:,} ({how}); events: {_quantiles(sessions.events)}; "
            f"half last up to {span(sessions.seconds[0])}, the longest {span(sessions.seconds[-1])}"
        ),
    )
    again, ids_again = measured.repeated, measured.repeated_ids
    yield "repetitions", f"{again:,} events repeat the one before, {ids_again:,} have the event_id of an earlier one"
    top = measured.top_shares
    yield (
        "popularity",
        f"the top 1% of the items have {top[0]:.1%} of the events, 10% {top[1]:.1%}, half {top[2]:.1%}",
    )
    for name, busiest in (("busiest item", measured.busiest_item), ("busiest visitor", measured.busiest_visitor)):
        yield name, f"{shortened(busiest.name)}: {busiest.events:,} events, {busiest.share:.1%}"
    for gap in measured.timeline.gaps:
        yield "gap", f"{moment(gap.begin)} to {moment(gap.end)}, {span(gap.end - gap.begin)} without an event"
    for burst in measured.timeline.bursts:
        begin = f"{moment(burst.begin)} ({span(measured.timeline.bin_seconds)})"
        yield "burst", f"{burst.events:,} events from {begin}, {burst.factor:g} x the median"


def reasons(measured: Measured) -> list[str]:
    """A sentence for each reason, with its first line."""
    return [
        f"{reason.rows:,} rows, first line {reason.line}: {reason.reason}" for reason in measured.reasons[:MOST_LISTED]
    ]


def moment(seconds: float) -> str:
    """A time as text, to the second.

    >>> moment(1_705_190_400)
    '2024-01-14 00:00:00'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """A length of time in the unit that suits it.

    >>> span(90), span(3 * 86_400), span(0.5)
    ('90 s', '3 days', '0.5 s')
    """
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def share(count: int, of: int) -> str:
    """A share in per cent, with a digit where it is small.

    >>> share(1, 3), share(1, 300)
    ('33%', '0.3%')
    """
    return f"{count / of:.0%}" if count * 20 >= of else f"{count / of:.1%}"


def shortened(text: str) -> str:
    """A text of bounded length, as Python writes it."""
    return repr(text if len(text) <= MOST_CELL else text[: MOST_CELL - 1] + "…")


def _quantiles(counts: Sequence[int]) -> str:
    names = ("half up to", "90% up to", "99% up to", "at most")
    return ", ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=False))


def _columns(document: Document) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows: list[tuple[str, ...]] = [
        (
            shortened(column.name)[1:-1],
            f"{column.distinct:,}",
            f"{column.empty:.0%}",
            column.read_as or (f"could be {', '.join(column.could_be)}" if column.could_be else "-"),
            ", ".join(map(shortened, column.examples)),
        )
        for column in document.columns
    ]
    return ("column", "distinct", "empty", "read as", f"first values (of {document.sampled:,} rows)"), rows


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, *rows]]
    return ["  ".join(line).rstrip() for line in lines]


def _section(title: str, sentences: Sequence[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {sentence}" for sentence in sentences)] if sentences else []
