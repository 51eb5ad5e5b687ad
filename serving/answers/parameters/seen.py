"""The part of a request that leaves out what the visitor had, and events that come with the request.

This file decides which kinds of events a request can name, how a time window is written, and which of these contradict
each other. Their effect on the list is decided by `serving.answers.decision` and `stream.models.had.lists`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from serving.web.problems import Problem
from stream.events import Id

SeenKind = Literal["clicked", "carted", "bought"]
SEEN_PATTERN = "^([Tt]rue|[Ff]alse|TRUE|FALSE|0|1|(clicked|carted|bought)(,(clicked|carted|bought))*)$"
SeenWithin = Annotated[
    str,
    Meta(
        pattern="^[1-9][0-9]{0,5}[smhdw]$",
        description="How long ago an event may be for its item to be left out by `exclude_seen`, such as `12h`, "
        "`30d` or `8w`. Without it, it may be any time ago.",
    ),
]
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
WORDS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}


class RecentEvent(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An event of the visitor that need not have been sent."""

    item: Id
    """Id of the item."""
    kind: Literal["click", "view", "cart", "purchase", "like", "dislike"] = "click"
    """A disliked item is left out, and what lies near it is lowered. All others count as the visitor's history;
    `exclude_seen` leaves them out by their kind."""


class Seen(NamedTuple):
    """Items that `exclude_seen` and `seen_within` leave out, as `Ask` has it."""

    everything: bool
    kinds: Sequence[str]
    within: float | None


NOTHING = Seen(everything=False, kinds=(), within=None)


def seen_of(what: str | bool | Sequence[str], within: str | None) -> Seen:
    """The items that these two parameters leave out.

    Args:
        what: of `exclude_seen`; text is as a query string has it.
        within: of `seen_within`.

    Raises:
        Problem: 422, if a time is given and nothing is left out.

    >>> seen_of("bought,carted", "2h")
    Seen(everything=False, kinds=('bought', 'carted'), within=7200.0)
    """
    if isinstance(what, str):
        what = WORDS.get(what.lower(), what.split(","))
    if what is False:
        if within is None:
            return NOTHING
        raise Problem(
            422,
            "seen_within: it says how long ago an event may be for exclude_seen, which leaves nothing out; give "
            "exclude_seen=true, or kinds of events such as exclude_seen=bought",
            field="seen_within",
        )
    if within is None:
        return Seen(True, (), None) if what is True else Seen(False, tuple(what), None)
    seconds = float(within[:-1]) * UNIT_SECONDS[within[-1]]
    return Seen(False, ("any",) if what is True else tuple(what), seconds)
