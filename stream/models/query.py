"""This file decides what a list can be asked for, and what a list is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec


class Query(msgspec.Struct, frozen=True):
    """Whom a list is for.

    Attributes:
        user, session: who asks, as in events; either, both or none.
        recent: items an anonymous visitor looked at, oldest first.
        now: seconds; 0 = the time of the last learned event.
        n: length of the list.
        exclude: items that must not be in it.
        exclude_seen: leave out everything in the visitor's history.
        exclude_last: leave out the visitor's last item.
        candidates: rank these instead of what the sources propose.
    """

    user: str | None = None
    session: str | None = None
    recent: Sequence[str] = ()
    now: float = 0.0
    n: int = 10
    exclude: Collection[str] = ()
    exclude_seen: bool = False
    exclude_last: bool = False
    candidates: Sequence[str] | None = None


class Ranking(msgspec.Struct, frozen=True):
    """A list, best first. `fallback` says what it was made from where nothing is known about the visitor: None if
    something is, else `session`, `trending`, `popular` or `newest`.
    """

    items: list[str] = []
    scores: list[float] = []
    fallback: str | None = None
