"""What a list says beside its items: which version of which model made it, from what, and under which id.

The `answer` id goes back with the events that follow from the list (`"answer": "…"` in a click), so that what came of
an answer can be told.
"""

from __future__ import annotations

import msgspec

from serving.loading.loader import LoadedVersion, Loader
from stream.models.query import Ranking

EMPTY = Ranking(items=[], scores=[], fallback="empty")
"""While no version was ever published there is nothing to recommend, and a page still has to be rendered."""


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


def listed(loader: Loader, served: LoadedVersion | None, ranking: Ranking) -> Recommendations:
    """A ranking as it is sent."""
    loader.count_answer(ranking.fallback)
    return Recommendations(
        loader.answer_id(),
        loader.model_name,
        served.version.number if served else None,
        served.version.id if served else None,
        ranking.fallback,
        list(map(Scored, ranking.items, ranking.scores)),
    )
