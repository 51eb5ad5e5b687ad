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


class MadeFrom(msgspec.Struct):
    """Number of items of a list by where they come from."""

    ranked: int
    """Candidates of the sources, or those that the request named, in the order of the model."""
    popular: int
    """Items that were added, or listed, by their counts alone."""
    newest: int
    """Items that were added because they are new, those included that have no event yet."""


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
    made_from: MadeFrom
    """Number of items by where they come from."""
    catalogue_revision: int
    """Number of the last change of the catalogue that the list knows; 0 without a catalogue."""
    items: list[Scored]


def to_response(
    answer_id: str, model_name: str, version: Version | None, ranking: Ranking, catalogue_revision: int = 0
) -> Recommendations:
    """A ranking as it is sent."""
    return Recommendations(
        answer_id,
        model_name,
        version.number if version is not None else None,
        version.id if version is not None else None,
        ranking.fallback,
        MadeFrom(len(ranking.items) - ranking.popular - ranking.newest, ranking.popular, ranking.newest),
        catalogue_revision,
        list(map(Scored, ranking.items, ranking.scores)),
    )
