"""Markdown: tables, code, and docstrings in Google's form.

This file decides how tables, lists and docstrings look in Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes):$")
_NAMED = re.compile(r"^(?P<name>[\w*, ]+): (?P<text>.*)$")
_TITLES = {"Args": "Arguments", "Returns": "Returns", "Raises": "Raises", "Attributes": "Attributes"}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table; bars in cells are escaped. A cell is one line, because a line break would end the table.

    >>> print(table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\|y |
    """
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    broken = [cell for line in lines for cell in line if "\n" in cell]
    if broken:
        raise ValueError(f"a cell of a table is one line, not {broken[0]!r}")
    return "\n".join(
        "|" + "|".join(line) + "|" if line[0] == "---" else "| " + " | ".join(line) + " |" for line in lines
    )


def code(text: str) -> str:
    """Text as code; nothing for an empty text."""
    return f"`{text}`" if text else ""


def fence(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def prose(docstring: str) -> str:
    r"""A docstring in Google's form as Markdown: sections become lists, doctests become blocks of code.

    >>> print(prose("Halve a number.\n\nArgs:\n    n: of which\n        kind it is."))
    Halve a number.
    <BLANKLINE>
    Arguments:
    <BLANKLINE>
    - `n`: of which kind it is.
    """
    made: list[str] = []
    for block in re.split(r"\n\s*\n", docstring.strip("\n")):
        lines = block.splitlines()
        section = _SECTION.match(lines[0].strip())
        if lines[0].lstrip().startswith(">>>"):
            made.append(fence("python", "\n".join(lines)))
        elif section:
            made += [f"{_TITLES[section[1]]}:", _items(lines[1:])]
        elif lines[0].startswith("    "):
            made.append(fence("python", "\n".join(line[4:] for line in lines)))
        else:
            made.append("\n".join(lines))
    return "\n\n".join(made)


def _items(lines: Sequence[str]) -> str:
    """The entries of a section, one item of a list each."""
    entries: list[str] = []
    for line in lines:
        goes_on = line.startswith(" " * 8) or not _NAMED.match(line.strip())
        if entries and goes_on:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line.strip())
    return "\n".join(f"- {_entry(entry)}" for entry in entries)


def _entry(text: str) -> str:
    found = _NAMED.match(text)
    if not found:
        return text
    names = ", ".join(f"`{name.strip()}`" for name in found["name"].split(","))
    return f"{names}: {found['text']}"
