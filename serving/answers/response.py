"""JSON of a list.

This file decides what a list says beside its items: which version of which model made it, from what, and under which
id. Events that follow from the list send that id back (`"answer": "…"` in a click), which ties an outcome to its
answer.
"""

from __future__ import annotations

import msgspec

from stream.models.query import Ranking
from stream.versions import Version


class Scored(msgspec.Struct):
    """One item of a list."""

    item: str
    score: float


class Recommendations(msgspec.Struct):
    """A list of items, best first."""

    answer: str
    """Id of this answer."""
    model: str
    version: int | None
    """Number of the version that answered; null while nothing was learned yet."""
    version_id: str | None
    fallback: str | None
    """Null if the list is personal (or really about this item), else what it was made from instead: `session`,
    `trending`, `popular`, `newest`, or `empty` while nothing was learned."""
    items: list[Scored]


def to_response(answer_id: str, model_name: str, version: Version | None, ranking: Ranking) -> Recommendations:
    """A ranking as it is sent."""
    return Recommendations(
        answer_id,
        model_name,
        version.number if version is not None else None,
        version.id if version is not None else None,
        ranking.fallback,
        list(map(Scored, ranking.items, ranking.scores)),
    )
