"""Names in a state: what the places in its tables stand for.

Weights, outcomes and measurements are arrays, and a place in them belongs to a source, a ranking or a feature. The
order of these is that of the program that learned. Each state therefore carries the names in its own order, and every
reader finds a place by its name: a later release may order them in another way, and a source may come or go. Read by
its place alone, a weight would silently count for another feature.

This file decides which names a state carries, which names a state of release 0.1 is taken to have, and which states
this program can't read. Arrays are brought into this program's order by `stream.models.migration`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from stream.models.feature_names import (
    CANDIDATE_FEATURE_NAMES,
    CONTEXT_FEATURE_NAMES,
    CONVERSION_FEATURE_NAMES,
    CROSS_NAMES,
)
from stream.models.source_names import HALF_LIFE_NAMES, RANKING_NAMES, SOURCES

Names = Mapping[str, Sequence[str]]
"""Names by kind, each kind in the order of the places in tables."""

TODAY: Names = {
    "sources": list(SOURCES),
    "rankings": list(RANKING_NAMES),
    "features": list(CANDIDATE_FEATURE_NAMES),
    "context_features": list(CONTEXT_FEATURE_NAMES),
    "crosses": list(CROSS_NAMES),
    "conversion_features": list(CONVERSION_FEATURE_NAMES),
    "half_lives": list(HALF_LIFE_NAMES),
}
"""Names of this program. Its sources of one's own are among them."""

FIXED_ORDER = ("half_lives",)
"""Kinds whose order must be this program's, because tables with a row for each item depend on it."""

FIXED_NAMES = (*FIXED_ORDER, "conversion_features")
"""Kinds of which the names must be this program's."""

_SOURCES_0_1 = (
    *("transition", "transition_fast", "transitions", "cosine", "cosine_flat", "vsknn", "stan"),
    *("popular_20m", "popular_2h", "popular_12h", "popular_3d", "popular_30d", "embedding"),
)

RELEASE_0_1: Names = {
    "sources": list(_SOURCES_0_1),
    "rankings": [*_SOURCES_0_1, "blend", "challenger"],
    "features": [
        *(f"{source}.{part}" for source in _SOURCES_0_1 for part in ("value", "rank", "log")),
        *("item.age", "item.silence", "item.count"),
        *("trend.20m_2h", "trend.2h_12h", "trend.12h_3d", "trend.3d_30d", "like_last", "item.bias"),
        *("own.present", "own.recency", "own.count", "own.last", "own.in_session", "agreement"),
    ],
    "context_features": [
        *("session.length", "session.length_log", "history.log", "last_item.count_log", "seconds.log"),
        *("similarity", "similarity.wide", "candidates", "history.none", "session.first"),
        *("seconds.within_a_minute", "seconds.beyond_half_an_hour", "day.sine", "day.cosine"),
        *("history.repeats", "session.items"),
    ],
    "crosses": ["session_length", "last_item_count", "seconds", "similarity"],
    "conversion_features": [
        *("item_count", "item_age", "item_idle", "visitor_item_events", "history_length", "items_in_session"),
        *("visitor_idle", "neighbour_similarity", "champion_rank", "challenger_rank", "day_sine", "day_cosine"),
    ],
    "half_lives": ["20m", "2h", "12h", "3d", "30d"],
}
"""Names of every state of release 0.1, which carries none: that release had its own sources only."""


def names_in(state: Mapping[str, Any]) -> Names:
    """The names that the readable part of a state carries, those of release 0.1 if it carries none."""
    names: Names = state.get("names") or RELEASE_0_1
    return names


def digest_of(names: Names) -> str:
    """A short identity of names in their order, which manifests carry: 16 hexadecimal digits."""
    encoded = json.dumps({kind: list(each) for kind, each in names.items()}, sort_keys=True).encode()
    return hashlib.sha256(encoded).hexdigest()[:16]


TODAY_DIGEST = digest_of(TODAY)


def digest_in(state: Mapping[str, Any]) -> str:
    """Digest of the names in the readable part of a state, as manifests have it; empty if it carries none."""
    names = state.get("names")
    return "" if names is None else TODAY_DIGEST if names is TODAY else digest_of(names)


def same_order(names: Names) -> bool:
    """True if every place stands for the same as in this program."""
    return {kind: list(each) for kind, each in names.items()} == TODAY


def same_names(names: Names) -> bool:
    """True if there are the same names of every kind as in this program, in whatever order.

    >>> same_names(dict(TODAY, sources=list(reversed(SOURCES))))
    True
    """
    return {kind: sorted(each) for kind, each in names.items()} == {kind: sorted(each) for kind, each in TODAY.items()}


def difference(names: Names) -> str | None:
    """A sentence that says why this program can't read a state with these names; None if it can.

    Sources, rankings and features may be others than here: numbers are found by their names, new ones begin anew and
    those that are missing here are left out (`stream.models.migration`).

    >>> difference(dict(TODAY, sources=[*SOURCES, "weekday"])) is None
    True
    """
    for kind in (*FIXED_NAMES, *sorted(TODAY.keys() - names.keys())):
        ours, theirs = TODAY[kind], names.get(kind, ())
        if list(theirs) != list(ours) and (kind in FIXED_ORDER or sorted(theirs) != sorted(ours)):
            return _sentence(kind, theirs, ours)
    if unknown := sorted(names.keys() - TODAY.keys()):
        return _sentence(unknown[0], names[unknown[0]], ())
    return None


def _sentence(kind: str, theirs: Sequence[str], ours: Sequence[str]) -> str:
    missing, new = [each for each in theirs if each not in ours], [each for each in ours if each not in theirs]
    shown = kind.replace("_", " ")
    more = f"; {_listed(missing)} is missing here" if missing else ""
    more += f"; {_listed(new)} is new here" if new else ""
    return (
        f"the model has learned with the {shown} {_listed(theirs)}, and this process has the {shown} {_listed(ours)}"
        f"{more}. Another release learned it: start that release, or begin anew with corrente versions new-lineage"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "(none)"
