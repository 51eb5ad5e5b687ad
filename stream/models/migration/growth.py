"""Growth: settings with which a model can go on, although its tables were made with others.

Larger capacities are possible: every row finds a place. Smaller ones are not, because it isn't known which rows should
go. Nor is another value of `repeats`: the table of what visitors had can't be made from events that were learned
without it, and a forgotten variable would lose it. While `repeats` is `first`, the number of visitors grows to a
multiple only: that table finds a pair in one of its sets, and sets are divided by a multiple without loss.

This file decides which settings are refused, and which values would be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from stream.models.settings import CAPACITIES


class Refusal(NamedTuple):
    """A setting with which the model can't go on: its name, the value of this process, and what would be right."""

    name: str
    value: Any
    right: str


def refusals(learned: Mapping[str, Any], own: Mapping[str, Any]) -> list[Refusal]:
    """Settings with which a state can't go on.

    Args:
        learned: settings that the state was learned with, by name; those that are missing are not compared.
        own: settings of this process; all of `FIXED`.

    >>> refusals({"max_items": 64, "repeats": "all"}, {"max_items": 128, "repeats": "all"})
    []
    >>> refusals({"max_items": 64}, {"max_items": 63, "repeats": "all"})
    [Refusal(name='max_items', value=63, right='64 or more')]
    """
    found = [
        Refusal(name, own[name], f"{learned[name]} or more")
        for name in CAPACITIES
        if name in learned and own[name] < learned[name]
    ]
    repeats = learned.get("repeats", own["repeats"])
    if own["repeats"] != repeats:
        found.append(Refusal("repeats", own["repeats"], repeats))
    visitors = learned.get("max_visitors")
    if visitors is not None and repeats == own["repeats"] == "first":
        more, rest = divmod(own["max_visitors"], visitors)
        if more and rest:
            right = f"{more * visitors} or {(more + 1) * visitors}, a multiple of {visitors} while repeats is first"
            found.append(Refusal("max_visitors", own["max_visitors"], right))
    return found
