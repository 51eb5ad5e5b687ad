"""Free labels of a document: names of a shop's own with a truth value, a number or a text each.

This file decides which labels a document may have.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Label = bool | int | float | str
LabelName = Annotated[str, Meta(min_length=1, max_length=64)]
Labels = Annotated[
    dict[LabelName, Label],
    Meta(max_length=64, description="Names of your own, each with true or false, a number or a text."),
]
MAX_LABEL_CHARACTERS = 500
"""Longest text of a label."""


def label_problem(labels: dict[str, Label]) -> str | None:
    """The reason why these labels can't be kept; None if they can.

    >>> label_problem({"colour": "blue"}), label_problem({"size": 10**400})
    (None, 'labels.size: the number is too large')
    """
    for name, value in labels.items():
        if isinstance(value, str) and len(value) > MAX_LABEL_CHARACTERS:
            return f"labels.{name}: {len(value)} characters; at most {MAX_LABEL_CHARACTERS} are kept"
        if is_too_large(value):
            return f"labels.{name}: the number is too large"
    return None


def is_too_large(value: Label) -> bool:
    """True for a whole number that no column of float64 can hold.

    >>> is_too_large(10**300), is_too_large(10**400)
    (False, True)
    """
    return isinstance(value, int) and value.bit_length() > 1000
