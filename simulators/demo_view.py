"""The display of a demo: a live view in a terminal, plain lines everywhere else.

This file decides how a `simulators.demo.Story` is shown; it changes nothing in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from simulators.demo import Story

CURVE_POINTS = 60
LINE_SECONDS = 2.0
BLOCKS = "▁▂▃▄▅▆▇█"


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
        self._curve: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def starting(self, text: str) -> None:
        self._live.update(Spinner("dots", text))

    def show(self, story: Story) -> None:
        if story.hit_rate.tests and story.elapsed >= len(self._curve) * story.seconds / CURVE_POINTS:
            self._curve.append(story.hit_rate.recent)
        self._live.update(self._drawn(story))

    def _drawn(self, story: Story) -> RenderableType:
        serving = Text(f"{story.pinned}, rolled back", "bold yellow") if story.pinned else Text("the newest", "green")
        figures = Table.grid(padding=(0, 3))
        figures.add_row("events learned", f"{story.events_learned:,}", "events/s", f"{story.events_per_second:.0f}")
        figures.add_row("version", f"{story.version}", "serving", serving)
        figures.add_row("drift signals", f"{story.drift_signals}", "HTTP docs", f"{story.address}/docs")

        rates = [f"{rate:.3f}" if story.hit_rate.tests else "  …  " for rate in story.hit_rate.recent]
        curves = Table.grid(padding=(0, 2))
        curves.add_row(
            "HR@10 model", Text(rates[0], "bold cyan"), Text(curve([model for model, _ in self._curve]), "cyan")
        )
        curves.add_row(
            "popularity", Text(rates[1], "bold"), Text(curve([popularity for _, popularity in self._curve]), "dim")
        )

        parts: list[RenderableType] = [figures, Text(), curves]
        if story.after:
            parts += [Text(), _newcomer(story)]
        if story.news:
            parts += [Text(), *(Text(f"{elapsed:6.1f} s  {text}") for elapsed, text in story.news[-5:])]
        parts += [Text(), ProgressBar(total=story.seconds, completed=min(story.elapsed, story.seconds), width=72)]
        return Panel(Group(*parts), title="Corrente: a shop that learns", subtitle="Ctrl-C ends it", width=100)


def curve(shares: Sequence[float]) -> str:
    """Draw shares from 0 to 1 as a line of block characters.

    >>> curve([0, 0.5, 1])
    '▁▅█'
    """
    return "".join(BLOCKS[round(share * (len(BLOCKS) - 1))] for share in shares)


def _newcomer(story: Story) -> RenderableType:
    lists = Table.grid(padding=(0, 2))
    lists.add_row("a newcomer was shown", Text(_shortened(story.before), "dim"))
    lists.add_row("clicked", Text(_shortened(story.clicked), "yellow"))
    lists.add_row(f"{story.after_milliseconds:.0f} ms later", Text(_shortened(story.after), "cyan"))
    return lists


def _shortened(items: Sequence[str]) -> str:
    return " ".join(item.removeprefix("item-") for item in items)
