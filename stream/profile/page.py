"""A profile as one HTML page, with its plots and its style in it: it can be mailed, and asks the network for nothing.

This file decides which plots the page has, and its form.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

from stream.profile.charts import bars, curve, named_bars
from stream.profile.document import Document
from stream.profile.measure import Measured
from stream.profile.text import figures, moment, reasons, shortened, span

MOST_KINDS = 12

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --rule: #d8dee4; --bar: #2f6f9f; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa5b1; --rule: #363d45; --bar: #6cb0e0; --paper: #14181d; }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin-bottom: 0.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 0.5rem; }
p, li { overflow-wrap: anywhere; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 0.25rem 0.8rem 0.25rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
pre { background: color-mix(in srgb, var(--rule) 40%, transparent); padding: 0.8rem; overflow-x: auto;
  border-radius: 4px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 0 2rem; }
svg { width: 100%; height: auto; } .bar { fill: var(--bar); } .dot { fill: var(--bar); }
.line { fill: none; stroke: var(--bar); stroke-width: 2; } .grid { stroke: var(--rule); }
.label { fill: var(--soft); font-size: 15px; }
.values td:last-child { white-space: nowrap; }
@media (max-width: 30rem) { .plots { grid-template-columns: 1fr; } .label { font-size: 22px; } }
"""


def page_of(document: Document) -> str:
    """The page."""
    parts = [f"<h1>{html.escape(document.file)}</h1>", f'<p class="soft">{html.escape(document.format)}</p>']
    measured = document.measured
    if measured is not None:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in figures(measured)
        )
        if measured.cautions:
            parts += ["<h2>To look at</h2>", _list(measured.cautions)]
        if measured.reasons:
            parts += ["<h2>Unreadable rows</h2>", _list(reasons(measured))]
        parts += ["<h2>Figures</h2>", f'<div class="wide"><table>{rows}</table></div>']
        parts += ['<div class="plots">', *_plots(measured), "</div>"]
    parts += ["<h2>Columns</h2>", _columns(document), "<h2>Go on</h2>"]
    if document.why_not:
        parts.append(f"<p>Not to be evaluated: {html.escape(document.why_not)}.</p>")
    if document.command:
        parts.append(f"<pre>{html.escape(document.command)}</pre>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(document.file)}: profile</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _plots(measured: Measured) -> Iterator[str]:
    line = measured.timeline
    begins = [moment(line.begin + place * line.bin_seconds) for place in range(len(line.counts))]
    titles = [f"{begin}: {count:,} events" for begin, count in zip(begins, line.counts, strict=True)]
    ends = (begins[0], moment(measured.last))
    yield _plot(f"Events in each {span(line.bin_seconds)} (UTC)", bars(line.counts, titles, ends, "events"))
    hours = [f"{hour:02}:00 UTC: {count:,} events" for hour, count in enumerate(line.hours)]
    yield _plot("Events by hour of the day (UTC)", bars(line.hours, hours, ("00:00", "23:00"), "events"))
    yield _plot(
        "Popularity: share of the events that the most popular items have",
        curve(measured.popularity, "share of the items", "share of the events"),
    )
    kinds = list(measured.kinds.items())[:MOST_KINDS]
    yield _plot("Kinds", named_bars([count for _, count in kinds], [kind for kind, _ in kinds]))
    for title, counts in (
        ("Events of a visitor", measured.visitor_lengths),
        ("Events of a session", measured.session_lengths),
    ):
        names = [_range_of(place) for place in range(len(counts))]
        yield _plot(f"{title}: how many have so many", named_bars(counts, names))


def _range_of(place: int) -> str:
    """The numbers in a bin of powers of two.

    >>> [_range_of(place) for place in range(4)]
    ['1', '2 to 3', '4 to 7', '8 to 15']
    """
    return "1" if not place else f"{2**place:,} to {2 ** (place + 1) - 1:,}"


def _plot(title: str, drawing: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{drawing}</section>"


def _list(sentences: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(each)}</li>' for each in sentences)}</ul>"


def _columns(document: Document) -> str:
    names = ("column", "distinct", "empty", "read as", "could be", "first values")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = []
    for column in document.columns:
        cells = (
            column.name,
            f"{column.distinct:,}",
            f"{column.empty:.0%}",
            column.read_as or "-",
            ", ".join(column.could_be) or "-",
            ", ".join(map(shortened, column.examples)),
        )
        rows.append(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    note = f'<p class="soft">By the first {document.sampled:,} rows.</p>'
    return f'<div class="wide values"><table><tr>{head}</tr>{"".join(rows)}</table></div>{note}'
