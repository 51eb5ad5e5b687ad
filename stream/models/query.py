"""Query and list of a model.

This file decides what a list can be asked for, and what a list is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec


class Query(msgspec.Struct, frozen=True):
    """A request for a list.

    Attributes:
        user, session: the visitor, as in events; either, both or none.
        recent: items an anonymous visitor looked at, oldest first.
        now: the time of the request in seconds; 0 = the time of the last learned event.
        n: length of the list.
        exclude: items that must not be in it.
        exclude_seen: leave out everything in the visitor's history, and everything that they are known to have bought.
        exclude_kinds: leave out items of the visitor's events of these kinds, some of `had.lists.SEEN_KINDS`.
        seen_within: how long ago an event may be that counts for `exclude_kinds`, in seconds; None: any time.
        disliked: items that the visitor turns down now; they are left out, and what lies near them is lowered.
        exclude_last: leave out the visitor's last item.
        candidates: rank these instead of what the sources propose.

    >>> Query(user="ada", n=3, exclude=["teapot"])
    Query(user='ada', session=None, recent=(), now=0.0, n=3, exclude=['teapot'], exclude_seen=False,
          exclude_kinds=(), seen_within=None, disliked=(), exclude_last=False, candidates=None)
    """

    user: str | None = None
    session: str | None = None
    recent: Sequence[str] = ()
    now: float = 0.0
    n: int = 10
    exclude: Collection[str] = ()
    exclude_seen: bool = False
    exclude_kinds: Sequence[str] = ()
    seen_within: float | None = None
    disliked: Sequence[str] = ()
    exclude_last: bool = False
    candidates: Sequence[str] | None = None


class Ranking(msgspec.Struct, frozen=True):
    """A list, best first.

    Attributes:
        items: ids of the items.
        scores: score of each item; they compare within one list.
        fallback: what the list was made from if nothing is known about the visitor: `session`, `trending`, `popular` or
            `newest`; None if something is known.
        popular: number of items at the end of the list (but for the newest) that no source proposed, and that were
            added by their counts.
        newest: number of items at its end that were added because they are new.
        together: number of items at its beginning that are bought together with an item; None in other lists.
        checked: True if every item was found among the allowed ones once more, after the list was made (`ListCheck`).
    """

    items: list[str] = []
    scores: list[float] = []
    fallback: str | None = None
    popular: int = 0
    newest: int = 0
    together: int | None = None
    checked: bool = False
