"""Generated parts of pages, by name, and the marks between which they stand.

This file decides which parts are generated and how they are put into pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import commands, events, http, http_errors, metrics, python, settings, tables

REFERENCE = Path(__file__).parent.parent / "reference"

SECTIONS: Mapping[str, Callable[[], str]] = {
    **settings.SECTIONS,
    **metrics.SECTIONS,
    **http.SECTIONS,
    **http_errors.SECTIONS,
    **commands.SECTIONS,
    **tables.SECTIONS,
    **events.SECTIONS,
    **python.SECTIONS,
}

_MARKED = re.compile(r"(<!-- generated: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Pages with generated parts."""
    return [page for page in sorted(REFERENCE.glob("*.md")) if _MARKED.search(page.read_text())]


def names_in(text: str) -> list[str]:
    """Names of the generated parts of a page."""
    return [found["name"] for found in _MARKED.finditer(text)]


def with_sections(text: str) -> str:
    """A page with each generated part as the code has it now.

    Raises:
        KeyError: the page marks a part that nothing generates.
    """
    return _MARKED.sub(lambda found: f"{found[1]}\n{SECTIONS[found['name']]()}\n\n{found[3]}", text)
