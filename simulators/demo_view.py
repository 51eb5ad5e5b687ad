"""The display of a demo: a live view in a terminal, plain lines everywhere else.

This file decides how a `simulators.demo.Story` is shown; it changes nothing in it.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Sequence
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.text import Text

from simulators.demo import MEASURED_FROM, Story

LINE_SECONDS = 2.0
TITLE = "Corrente: a shop that learns"
WIDTH = 90
CHART_COLUMNS, CHART_ROWS, CHART_TOP = 84, 6, 0.8
CHART_TESTS = 30
"""Tests before which the chart shows nothing: a rate of a few is chance."""
NEWS_LINES = 4
BLOCKS = " ▁▂▃▄▅▆▇█"
MODEL, POPULARITY, FITTING = "cyan", "bright_black", "green"
"""Colours of the two hit rates, and of items that fit the newcomer's clicks."""


class PlainLines:
    """A line of figures every two seconds, and a line for each event of the story."""

    def __init__(self, to: TextIO = sys.stdout) -> None:
        self._to = to
        self._printed_news = 0
        self._next_line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def starting(self, text: str) -> None:
        print(text, file=self._to, flush=True)

    def show(self, story: Story) -> None:
        if not self._next_line:
            print(f"the shop is open: {story.address}/docs", file=self._to)
        for elapsed, text in story.news[self._printed_news :]:
            print(f"{elapsed:6.1f} s  {text}", file=self._to)
        self._printed_news = len(story.news)
        if story.elapsed >= self._next_line:
            self._next_line = story.elapsed + LINE_SECONDS
            model, popularity = story.hit_rate.recent
            rates = f"HR@10 {model:.3f} (popularity {popularity:.3f})" if story.hit_rate.tests else "no tests yet"
            print(
                f"{story.elapsed:6.1f} s  learned {story.events_learned:,} events, {story.events_per_second:.0f}/s, "
                f"version {story.version}{f' (serving {story.pinned})' if story.pinned else ''}, "
                f"{rates}, drift signals {story.drift_signals}",
                file=self._to,
            )
        self._to.flush()


class LiveView:
    """A panel redrawn in place: figures, the two hit rates over time, the newcomer's lists, and events of the story."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=False)
        self._drawing = Drawing()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def starting(self, text: str) -> None:
        self._live.update(Spinner("dots", text))

    def show(self, story: Story) -> None:
        docs = f"{story.address}/docs   Ctrl-C ends it"
        self._live.update(Panel(self._drawing.of(story), title=TITLE, subtitle=docs, width=WIDTH + 4))


class Drawing:
    """A story as lines of `WIDTH` columns; it remembers the hit rates that the chart needs."""

    def __init__(self) -> None:
        self._rates: list[tuple[float, float]] = []

    def of(self, story: Story) -> RenderableType:
        if story.hit_rate.tests >= CHART_TESTS:
            # Columns without a measurement of their own, as while an older version is pinned, repeat the last one.
            self._rates += [story.hit_rate.recent] * (_column(story, story.elapsed) + 1 - len(self._rates))
        parts = [_figures(story), Text(), *self._chart(story), Text(), *_newcomer(story), Text(), *_news(story), Text()]
        return Group(
            *parts,
            ProgressBar(
                total=story.seconds,
                completed=min(story.elapsed, story.seconds),
                width=WIDTH,
                complete_style=MODEL,
                finished_style=MODEL,
            ),
        )

    def _chart(self, story: Story) -> list[Text]:
        model, popularity = story.hit_rate.recent
        rows = chart(self._rates, CHART_ROWS, CHART_TOP)
        for number, label in (
            (0, f"{CHART_TOP:.0%}"),
            (CHART_ROWS // 2, f"{CHART_TOP / 2:.0%}"),
            (CHART_ROWS - 1, "0%"),
        ):
            rows[number] = Text.assemble((f"{label:>5} ", "dim"), rows[number])
        rows = [row if len(row) and row.plain[4:5] == "%" else Text(" " * 6).append_text(row) for row in rows]
        measured = story.hit_rate.tests > 0
        return [
            Text("Hit rate: how often the next click was among the ten items shown to that visitor", "bold"),
            Text.assemble(
                ("      ██ ", MODEL),
                (f"Corrente {model:4.0%}" if measured else "Corrente  …  ", f"bold {MODEL}"),
                ("      ██ ", POPULARITY),
                (
                    f"the same ten popular items for all {popularity:4.0%}" if measured else "popular items  …",
                    POPULARITY,
                ),
            ),
            Text(),
            *rows,
            _marks(story),
        ]


def chart(rates: Sequence[tuple[float, float]], rows: int, top: float) -> list[Text]:
    """Draw pairs of rates as columns, the second in front of the first; the highest of `rows` lines comes first.

    Args:
        rates: the model's and popularity's rate for each column.
        rows: number of lines.
        top: rate at the upper edge.

    >>> [line.plain for line in chart([(0.25, 0.0), (0.5, 0.25), (1.0, 0.0)], 2, 1.0)]
    ['  █', '▄▄█']
    """
    eighths = [tuple(round(min(rate, top) / top * rows * 8) for rate in pair) for pair in rates]
    lines = []
    for row in range(rows - 1, -1, -1):
        line = Text()
        for model, popularity in eighths:
            back, front = (min(8, max(0, filled - 8 * row)) for filled in (model, popularity))
            if front == 8 or front >= back:
                line.append(BLOCKS[front], POPULARITY)
            elif back == 8 and front:
                line.append(BLOCKS[front], f"{POPULARITY} on {MODEL}")
            else:
                line.append(BLOCKS[back], MODEL)
        lines.append(line)
    return lines


def _column(story: Story, elapsed: float) -> int:
    """The column of a moment: the chart begins where measurement does."""
    share = (elapsed / story.seconds - MEASURED_FROM) / (1 - MEASURED_FROM)
    return min(CHART_COLUMNS - 1, max(0, int(share * CHART_COLUMNS)))


def _figures(story: Story) -> Text:
    serving = (f"version {story.pinned} is served, rolled back", "bold yellow")
    if not story.pinned:
        serving = ("the newest is served", "green")
    return Text.assemble(
        (f"{story.events_learned:>7,}", "bold"),
        f" events learned, {story.events_per_second:3.0f} a second    version ",
        (f"{story.version:>4}", "bold"),
        ", ",
        serving,
    )


def _marks(story: Story) -> Text:
    """The line below the chart: a word under each moment that has a mark."""
    line = ""
    for elapsed, mark in story.marks:
        if mark:
            line = f"{line:<{6 + _column(story, elapsed)}}▲ {mark} "
    return Text(line[:WIDTH], "yellow")


def _newcomer(story: Story) -> list[Text]:
    """Three lines: the list that a newcomer got, their clicks, and their list afterwards."""
    before, after = ("", "")
    if story.after:
        before, after = (
            f"{sum(item in story.same_taste for item in items)} of {len(items)} match"
            for items in (story.before, story.after)
        )
    return [
        _items("A newcomer is shown", story.before, story.same_taste, before),
        _items("clicks", story.clicked, story.same_taste, ""),
        _items(f"{story.after_milliseconds:.0f} ms later" if story.after else "", story.after, story.same_taste, after),
    ]


def _items(label: str, items: Sequence[str], fitting: Container[str], remark: str) -> Text:
    line = Text(f"{label:<21}", "dim" if not items else "")
    for item in items:
        line.append(f"{item.removeprefix('item-')} ", f"bold {FITTING}" if item in fitting else "dim")
    return line.append(f"  {remark}", FITTING)


def _news(story: Story) -> list[Text]:
    lines = [
        Text.assemble((f"{elapsed:4.0f} s  ", "dim"), text[: WIDTH - 8]) for elapsed, text in story.news[-NEWS_LINES:]
    ]
    return lines + [Text()] * (NEWS_LINES - len(lines))
