"""Paths: places in a producer's record, such as `ecommerce.items[].item_id`.

| written as | place |
|---|---|
| `user.id` | the field `id` of the object in `user` |
| `items[].sku` | the field `sku` of each element of the list `items`: the record holds one event for each |
| `items[0].sku` | of the first element |
| `params[key=session].value` | the field `value` of the first element whose `key` is `session` |
| `"a.b".c` | the field `c` of the object in the field `a.b` |

This file decides the syntax of a path, and how the place is looked up in a decoded record. Fast lookups of the paths of
a whole mapping are made in `stream.ingest.mapping.trees`.

>>> dig({"items": [{"sku": "a"}, {"sku": "b"}]}, parse_path("items[1].sku"))
'b'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple


class WrongPath(ValueError):
    """A text that is no path. The message says what is wrong with it."""


class Each(NamedTuple):
    """Every element of a list."""

    def __str__(self) -> str:
        return "[]"


class At(NamedTuple):
    """One element of a list, by its number from 0."""

    place: int

    def __str__(self) -> str:
        return f"[{self.place}]"


class Having(NamedTuple):
    """The first element of a list that has a field with a value."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"[{self.key}={self.value}]"


Step = str | Each | At | Having
"""A name of a field, or a choice among the elements of a list."""

Path = tuple[Step, ...]

_STEP = re.compile(r'(?P<dot>\.)?(?:"(?P<quoted>[^"]+)"|(?P<name>[^.\[\]"]+))|\[(?P<inside>[^\]]*)\]')
_CHOICE = re.compile(r'(?P<key>[^="]+)=(?:"(?P<quoted>[^"]*)"|(?P<value>.*))')
_UNREADABLE = re.compile(r"[\\\x00-\x1f]")
"""Characters in names of fields that the decoder of JSON doesn't find."""
_BARE = re.compile(r'[^.\[\]"]+')


def parse_path(text: str) -> Path:
    """The steps of a path.

    >>> parse_path("params[key=id].value"), parse_path("items[].sku")
    (('params', Having(key='key', value='id'), 'value'), ('items', Each(), 'sku'))

    Raises:
        WrongPath: the text is no path, names a field that can't be read, or has two lists of which each element would
            be an event.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or (found["inside"] is None and bool(found["dot"]) != bool(steps)):
            raise WrongPath(
                f"{text!r} is no path: character {at + 1} is wrong; one is written as user.id or items[].id"
            )
        at = found.end()
        inside = found["inside"]
        if inside is None:
            steps.append(found["quoted"] or found["name"])
        elif not steps:
            raise WrongPath(f"{text!r} is no path: it begins with a list instead of a field")
        elif not inside:
            steps.append(Each())
        elif inside.isdecimal():
            steps.append(At(int(inside)))
        elif choice := _CHOICE.fullmatch(inside):
            steps.append(Having(choice["key"], choice["value"] if choice["quoted"] is None else choice["quoted"]))
        else:
            raise WrongPath(f"{text!r} is no path: [{inside}] is neither [], a number nor key=value")
    if not steps:
        raise WrongPath("a path is empty; one is written as user.id or items[].id")
    if any(isinstance(step, str) and _UNREADABLE.search(step) for step in steps):
        raise WrongPath(f"{text!r} can't be read: the name of a field has a backslash or a control character")
    if steps.count(Each()) > 1:
        raise WrongPath(f"{text!r} has [] twice; a record is cut into events along one list")
    return tuple(steps)


def list_of(path: Path) -> Path | None:
    """The beginning of a path up to the list of which each element is an event; None if it has none."""
    return path[: path.index(Each())] if Each() in path else None


def text_of_path(path: Sequence[Step], index: int | None = None) -> str:
    """A path as it is written.

    Args:
        path: its steps.
        index: number of the element to write instead of `[]`.

    >>> text_of_path(parse_path('items[]."a.b"')), text_of_path(parse_path("items[].sku"), 2)
    ('items[]."a.b"', 'items[2].sku')
    """
    text = ""
    for step in path:
        if isinstance(step, str):
            name = step if _BARE.fullmatch(step) else f'"{step}"'
            text += f".{name}" if text else name
        else:
            text += f"[{index}]" if isinstance(step, Each) and index is not None else str(step)
    return text


def dig(value: Any, path: Sequence[Step]) -> Any:
    """The value at a path below a decoded JSON value; None if there is nothing. The path has no `[]`."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        elif not isinstance(value, list):
            return None
        elif isinstance(step, At):
            value = value[step.place] if step.place < len(value) else None
        elif isinstance(step, Having):
            value = next((each for each in value if _has(each, step)), None)
        if value is None:
            return None
    return value


def _has(element: Any, choice: Having) -> bool:
    found = element.get(choice.key) if isinstance(element, dict) else None
    return isinstance(found, str | int) and not isinstance(found, bool) and str(found) == choice.value
