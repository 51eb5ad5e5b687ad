"""Charts as SVG: bars and one kind of line, without a script and without anything from the network.

This file decides how figures are drawn. Colours come from the page's style sheet.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 92, 12, 12, 54
"""Margins, in which labels fit at the size that they have on a phone."""
NAME_CHARACTERS = 18
"""Longest name before a bar; of a longer one the beginning is shown, and all of it under the pointer."""
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def bars(values: Sequence[float], titles: Sequence[str], ends: tuple[str, str], unit: str) -> str:
    """A bar for each value, from 0.

    Args:
        values: heights.
        titles: of each bar, shown under the pointer.
        ends: labels below the first and the last bar.
        unit: of the values.
    """
    most = max([*values, 1e-12])
    step = PLOT_WIDTH / max(1, len(values))
    gap = min(2.0, step * 0.15)
    drawn = [
        f'<rect class="bar" x="{LEFT + place * step:.2f}" y="{TOP + PLOT_HEIGHT * (1 - value / most):.2f}" '
        f'width="{step - gap:.2f}" height="{PLOT_HEIGHT * value / most:.2f}"><title>{html.escape(title)}</title></rect>'
        for place, (value, title) in enumerate(zip(values, titles, strict=True))
        if value
    ]
    return _svg([*_levels(most, unit), *drawn, *_ends(ends)], f"{unit}, {ends[0]} to {ends[1]}")


def named_bars(values: Sequence[float], names: Sequence[str]) -> str:
    """A horizontal bar for each value, with its name in front and the value behind it."""
    most = max([*values, 1e-12])
    row, front, behind = 28, 230, 100
    parts = []
    for place, (value, name) in enumerate(zip(values, names, strict=True)):
        y, width = place * row, (WIDTH - front - behind) * value / most
        short = name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"
        title = f"<title>{html.escape(name)}</title>"
        parts += [
            f'<text class="label" x="{front - 8}" y="{y + 20}" text-anchor="end">{html.escape(short)}{title}</text>',
            f'<rect class="bar" x="{front}" y="{y + 5}" width="{max(1.0, width):.2f}" height="{row - 10}"/>',
            f'<text class="label" x="{front + max(1.0, width) + 6:.2f}" y="{y + 20}">{value:,.0f}</text>',
        ]
    return _svg(parts, "events by name", height=max(1, len(values)) * row)


def curve(points: Sequence[tuple[float, float]], x_label: str, y_label: str) -> str:
    """A line through points with both coordinates in (0, 1], on a logarithmic axis to the right."""
    least = math.log10(min(x for x, _ in points)) if points else -1.0
    least = min(least, -1.0)

    def place(x: float, y: float) -> str:
        return f"{LEFT + PLOT_WIDTH * (1 - math.log10(x) / least):.2f},{TOP + PLOT_HEIGHT * (1 - y):.2f}"

    parts = _levels(1.0, y_label, percent=True)
    for exponent in range(math.ceil(least), 1):
        x, anchor = LEFT + PLOT_WIDTH * (1 - exponent / least), "middle" if exponent else "end"
        label = f"{10.0**exponent * 100:g}%"
        parts += [
            f'<line class="grid" x1="{x:.2f}" x2="{x:.2f}" y1="{TOP}" y2="{TOP + PLOT_HEIGHT}"/>',
            f'<text class="label" x="{x:.2f}" y="{HEIGHT - 30}" text-anchor="{anchor}">{label}</text>',
        ]
    parts.append(f'<polyline class="line" points="{" ".join(place(x, y) for x, y in points)}"/>')
    parts += [f'<circle class="dot" cx="{x}" cy="{y}" r="2.5"/>' for x, y in (place(*p).split(",") for p in points)]
    parts.append(
        f'<text class="label" x="{LEFT + PLOT_WIDTH / 2:.0f}" y="{HEIGHT - 5}" text-anchor="middle">'
        f"{html.escape(x_label)}</text>"
    )
    return _svg(parts, f"{y_label} by {x_label}")


def _levels(most: float, unit: str, *, percent: bool = False) -> list[str]:
    """Horizontal lines at 0, half and all of the largest value, with their values."""
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + PLOT_HEIGHT * (1 - share)
        text = f"{share:.0%}" if percent else f"{most * share:,.3g}" if most < 1000 else f"{most * share:,.0f}"
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text class="label" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>',
        ]
    return [*parts, f"<desc>{html.escape(unit)}</desc>"]


def _ends(ends: tuple[str, str]) -> list[str]:
    y = HEIGHT - 30
    return [
        f'<text class="label" x="{LEFT}" y="{y}">{html.escape(ends[0])}</text>',
        f'<text class="label" x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{html.escape(ends[1])}</text>',
    ]


def _svg(parts: Sequence[str], label: str, height: int = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(label, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
