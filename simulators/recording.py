"""The moving picture of `corrente demo`: a real run, recorded as an animated SVG.

    python -m simulators.recording docs/_static/demo.svg

The picture has to move inside an `<img>` of a code host, so it has no script, no font of its own and nothing that is
loaded. Each line of the display is a strip that holds its successive states side by side, and a CSS animation shows one
of them at a time. Block characters become rectangles, because fonts disagree on their heights.

This file decides how long the run and the picture are, what of the run is left out (its first seconds, in which nothing
is measured), and how styled text becomes SVG. The display itself is decided in `simulators.demo_view`.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme

from simulators.demo import Story, run
from simulators.demo_view import TITLE, WIDTH, Drawing

RUN_SECONDS = 60.0
SHOWN_FROM = 0.17
"""Share of the run at which the picture begins: the first tenth has no measurement."""
FRAME_SECONDS = 0.5
"""Seconds of the run from one frame to the next."""
FASTER = 3.0
"""Speed of the picture, as a multiple of the run's."""
PAUSE_SECONDS = 4.0
"""Time for which the last frame stays."""

CELL, LINE, SIZE = 9, 20, 15
"""Width of a character, height of a line and size of the font, in pixels."""
LEFT, TOP, RIGHT = 20, 52, 18
_COLOURS = [
    (17, 22, 29),
    (255, 107, 107),
    (87, 211, 134),
    (245, 200, 92),
    (97, 160, 255),
    (200, 140, 255),
    (56, 189, 222),
    (222, 228, 236),
]
THEME = TerminalTheme(_COLOURS[0], _COLOURS[7], _COLOURS, [(112, 124, 140), *_COLOURS[1:7], (255, 255, 255)])
BARS = {"━": (0.0, 1.0), "╸": (0.0, 0.5), "╺": (0.5, 1.0)}
"""Characters of rich's progress bar: the part of their cell that the bar covers."""
EIGHTHS = " ▁▂▃▄▅▆▇█"
_DRAWN = EIGHTHS[1:] + "".join(BARS)
PIECES = re.compile(rf"([{_DRAWN}])\1*|[^ {_DRAWN}]+(?: [^ {_DRAWN}]+)*")
"""Parts of a line that are drawn at once: the same block again and again, or words with single spaces between them."""

Line = tuple[tuple[str, str, str, bool], ...]
"""Runs of a line: text, colour, background or an empty text, and whether it is bold."""


class Strip(NamedTuple):
    """The successive states of one line, and the number of the frame at which each begins."""

    states: list[Line]
    begins: list[int]


class Recorder:
    """A view of a demo that keeps a frame every `FRAME_SECONDS`, and prints what happens."""

    def __init__(self) -> None:
        self.frames: list[list[Line]] = []
        self._drawing = Drawing()
        self._next = SHOWN_FROM * RUN_SECONDS

    def starting(self, text: str) -> None:
        print(text, file=sys.stderr)

    def show(self, story: Story) -> None:
        drawn = self._drawing.of(story)
        if story.elapsed >= self._next and story.elapsed < story.seconds + FRAME_SECONDS:
            self._next = story.elapsed + FRAME_SECONDS
            self.frames.append(lines_of(drawn))


def lines_of(drawn: RenderableType) -> list[Line]:
    """Render to lines of styled runs."""
    console = Console(
        width=WIDTH, force_terminal=True, color_system="truecolor", legacy_windows=False, file=io.StringIO()
    )
    lines = console.render_lines(drawn, console.options.update(width=WIDTH), pad=False)
    return [tuple(_runs(line)) for line in lines]


def _runs(line: Sequence[Segment]) -> Iterator[tuple[str, str, str, bool]]:
    def look(segment: Segment) -> tuple[str, str, bool]:
        style = segment.style or Style.null()
        colour, background = THEME.foreground_color, ""
        if style.color:
            colour = style.color.get_truecolor(THEME)
        if style.bgcolor and not style.bgcolor.is_default:
            background = style.bgcolor.get_truecolor(THEME, foreground=False).hex
        if style.dim:
            colour = type(colour)(
                *(int(0.55 * one + 0.45 * other) for one, other in zip(colour, THEME.background_color, strict=True))
            )
        return "#{:02x}{:02x}{:02x}".format(*colour), background, bool(style.bold)

    for (colour, background, bold), run_of in groupby(line, look):
        yield "".join(segment.text for segment in run_of), colour, background, bold


def strips_of(frames: Sequence[Sequence[Line]]) -> list[Strip]:
    """The states of each line over all frames; a state that stays is kept once."""
    strips = []
    for row in range(max(map(len, frames))):
        strip = Strip([], [])
        for number, frame in enumerate(frames):
            line = frame[row] if row < len(frame) else ()
            if not strip.states or line != strip.states[-1]:
                strip.states.append(line)
                strip.begins.append(number)
        strips.append(strip)
    return strips


def picture(frames: Sequence[Sequence[Line]]) -> str:
    """Frames as one animated SVG."""
    strips = strips_of(frames)
    moving = len(frames) * FRAME_SECONDS / FASTER
    seconds = moving + PAUSE_SECONDS
    width, height = round(LEFT + WIDTH * CELL + RIGHT), TOP + len(strips) * LINE + 16
    classes: dict[tuple[str, bool], str] = {}
    rules, body = [], []
    for row, strip in enumerate(strips):
        drawn = "".join(
            f'<g transform="translate({number * width})">{_state(line, classes)}</g>'
            if number
            else _state(line, classes)
            for number, line in enumerate(strip.states)
        )
        last = (len(strip.states) - 1) * width
        if last:
            stops = "".join(
                f"{100 * begin * FRAME_SECONDS / FASTER / seconds:.2f}%{{transform:translateX({-number * width}px)}}"
                for number, begin in enumerate(strip.begins)
            )
            # Without animation, or where less motion is preferred, the last frame is shown.
            rules.append(f"@keyframes r{row}{{{stops}to{{transform:translateX({-last}px)}}}}")
            rules.append(
                f".r{row}{{transform:translateX({-last}px);animation:r{row} {seconds:.2f}s step-end infinite}}"
            )
        body.append(f'<g transform="translate({LEFT},{TOP + row * LINE})"><g class="r{row}">{drawn}</g></g>')
    rules += [
        f".{name}{{fill:{colour}{';font-weight:700' if bold else ''}}}" for (colour, bold), name in classes.items()
    ]
    rules.append("@media(prefers-reduced-motion:reduce){g{animation:none!important}}")
    dots = "".join(f'<circle cx="{24 + 20 * at}" cy="21" r="6" fill="#3a4350"/>' for at in range(3))
    background, edge = THEME.background_color.hex, "#3a4350"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(DESCRIPTION)}"><title>{escape(DESCRIPTION)}</title>'
        f'<style>text{{font:{SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;'
        f"white-space:pre}}path{{shape-rendering:crispEdges}}{''.join(rules)}</style>"
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="9" fill="{background}" stroke="{edge}"/>'
        f'{dots}<text x="{width / 2}" y="26" text-anchor="middle" fill="#9aa6b5">$ corrente demo — {TITLE}</text>'
        f"{''.join(body)}</svg>\n"
    )


DESCRIPTION = (
    "A recording of corrente demo, three times as fast as it ran: the hit rate of the learned lists rises above that "
    "of popular items, a newcomer gets a list of their own, an older version is rolled back to, and a new season is "
    "learned."
)


def _state(line: Line, classes: dict[tuple[str, bool], str]) -> str:
    """One state of one line: a path for the blocks and bars of each colour, texts for everything else."""

    def named(colour: str, bold: bool) -> str:
        return classes.setdefault((colour, bold), f"c{len(classes)}")

    under: dict[str, str] = {}
    boxes: dict[str, str] = {}
    texts, column = [], 0
    for text, colour, background, bold in line:
        if background:
            name = named(background, bold=False)
            under[name] = under.get(name, "") + _box(column, len(text), 0, LINE)
        for found in PIECES.finditer(text):
            at, drawn = column + found.start(), found.group()
            name = named(colour, bold)
            if drawn[0] in EIGHTHS:
                filled = EIGHTHS.index(drawn[0]) / 8 * LINE
                boxes[name] = boxes.get(name, "") + _box(at, len(drawn), LINE - filled, filled)
            elif drawn[0] in BARS:
                begin, end = BARS[drawn[0]]
                boxes[name] = boxes.get(name, "") + _box(at + begin, len(drawn) - 1 + end - begin, LINE / 2 - 2, 4)
            else:
                length = f' textLength="{len(drawn) * CELL}"' if len(drawn) > 1 else ""
                texts.append(f'<text class="{name}" x="{at * CELL}" y="15"{length}>{escape(drawn)}</text>')
        column += len(text)
    paths = [f'<path class="{name}" d="{drawn}"/>' for part in (under, boxes) for name, drawn in part.items()]
    return "".join(paths + texts)


def _box(column: float, columns: float, top: float, height: float) -> str:
    width = columns * CELL
    return f"M{column * CELL:g} {top:g}h{width:g}v{height:g}h{-width:g}z"


def main(to: Path) -> None:
    """Run the demo and write its picture."""
    recorder, story = Recorder(), Story(RUN_SECONDS)
    run(story, 0, recorder, seed=0)
    if not story.finished or not story.rollback_ok:
        sys.exit(f"the run is no story to show: {story.summary()}")
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(picture(recorder.frames), encoding="utf-8")
    print(f"{to}: {len(recorder.frames)} frames, {to.stat().st_size / 1024:.0f} KB", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
