"""A guide as its tests read it: blocks that are typed, and the outputs that the page shows for them.

Every fence of a guide has a mark, an HTML comment in the line before it:

| mark | the fence |
|---|---|
| `<!-- tested: NAME -->` | is typed by the tests |
| `<!-- output -->` | is shown by the typed block before it; white space doesn't count, and `...` stands for anything |
| `<!-- output; numbers vary -->` | the same, where numbers, times and ids of another run may be others |
| `<!-- output; varies: version, score -->` | is JSON whose fields of these names may have other values of their type |
| `<!-- not typed: REASON -->` | is only read |

This file decides which marks there are, and when an output is the one that the page shows.
"""

from __future__ import annotations

import doctest
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"<!-- (?P<kind>tested|output|not typed)(?:[:;] (?P<detail>[^>]+))? -->\n\Z")
NUMBER = re.compile(r"\b[0-9a-f]{8}(?:[0-9a-f]{56})?\b|\d[\dT,.:-]*(?: (?:s|min|h|d)\b)?")
"""An id of a version, short or whole, or a number, a time or a duration, whose unit depends on its length."""


class WrongPage(ValueError):
    """A page whose marks don't follow the rules. The text names the page and the line."""


@dataclass(frozen=True)
class Output:
    """An output as a page shows it.

    Attributes:
        text: content of the fence.
        rule: words of the mark, empty for an output that is always the same.
    """

    text: str
    rule: str

    def difference(self, got: str) -> str | None:
        """The reason why this is another output than the shown one, or None if it is the same."""
        if self.rule.startswith("varies: "):
            names = {name.strip() for name in self.rule.removeprefix("varies: ").split(",")}
            try:
                return json_difference(json.loads(self.text), json.loads(got), names)
            except json.JSONDecodeError as error:
                return f"not JSON: {error}"
        comparable: Callable[[str], str] = without_numbers if self.rule == "numbers vary" else str
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = doctest.OutputChecker().check_output(comparable(self.text), comparable(got), flags)
        return None if same else "another output"


@dataclass(frozen=True)
class Block:
    """Lines that are typed together.

    Attributes:
        name: name in the mark.
        line: line of the page in which the fence begins.
        text: content of the fence.
        output: what the page shows for it, or None.
    """

    name: str
    line: int
    text: str
    output: Output | None = field(default=None)


def blocks_of(path: Path) -> list[Block]:
    """The typed blocks of a page, in order.

    Raises:
        WrongPage: a fence has no mark, an output follows no typed block, two blocks have one name, or none is typed.
    """
    page = path.read_text(encoding="utf-8")
    blocks: list[Block] = []
    for fence in FENCE.finditer(page):
        line = page.count("\n", 0, fence.start()) + 1
        mark = MARK.search(page, 0, fence.start())
        if mark is None:
            raise WrongPage(f"{path.name}:{line}: the fence has no mark; see {Path(__file__).name}")
        kind, detail = mark["kind"], mark["detail"] or ""
        if kind == "tested":
            if fence["language"] != "sh" or detail in {"", *(block.name for block in blocks)}:
                raise WrongPage(f"{path.name}:{line}: a typed block is ```sh and has a name of its own")
            blocks.append(Block(detail, line, fence["text"]))
        elif kind == "output":
            if not blocks or blocks[-1].output is not None:
                raise WrongPage(f"{path.name}:{line}: an output follows the typed block that prints it")
            if detail not in {"", "numbers vary"} and not detail.startswith("varies: "):
                raise WrongPage(f"{path.name}:{line}: an output doesn't vary like this: {detail!r}")
            blocks[-1] = Block(blocks[-1].name, blocks[-1].line, blocks[-1].text, Output(fence["text"], detail))
        elif not detail:
            raise WrongPage(f"{path.name}:{line}: say why the block isn't typed")
    if not blocks:
        raise WrongPage(f"{path.name}: a guide has typed blocks, this one has none")
    return blocks


def without_numbers(text: str) -> str:
    """The text with `0` in the place of every number, time, duration and id of a version.

    >>> without_numbers("120  9f3c0a1b  4 s   1,204 events  0.133  2026-11-26T16:54:10")
    '0  0  0   0 events  0  0'
    """
    return NUMBER.sub("0", text)


def json_difference(shown: Any, got: Any, varying: set[str], where: str = "") -> str | None:
    """The first difference of two JSON values, or None. Values of `varying` fields need the same type only.

    >>> json_difference({"version": 3, "items": ["a"]}, {"version": 9, "items": ["b"]}, {"version"})
    "items[0]: 'b' instead of 'a'"
    """
    if isinstance(shown, dict) and isinstance(got, dict):
        if list(shown) != list(got):
            return f"{where or 'object'}: fields {', '.join(got)} instead of {', '.join(shown)}"
        for name, value in shown.items():
            place = f"{where}.{name}".lstrip(".")
            if name in varying:
                if type(value) is not type(got[name]):
                    return f"{place}: {got[name]!r} is of another type than {value!r}"
            elif found := json_difference(value, got[name], varying, place):
                return found
        return None
    if isinstance(shown, list) and isinstance(got, list) and len(shown) == len(got):
        pairs = enumerate(zip(shown, got, strict=True))
        return next((found for at, pair in pairs if (found := json_difference(*pair, varying, f"{where}[{at}]"))), None)
    return None if shown == got else f"{where or 'value'}: {got!r} instead of {shown!r}"
