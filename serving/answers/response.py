"""JSON of a list.

This file decides what a list says beside its items: which version of which model made it, from what, and under which
id. Events that follow from the list send that id back (`"answer": "…"` in a click), which ties an outcome to its
answer.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from stream.models.query import Ranking
from stream.models.ranking.explanation import Reasons
from stream.versions import Version


class Scored(msgspec.Struct):
    """One item of a list."""

    item: str
    score: float
    reasons: Reasons | UnsetType = UNSET
    """The sum that the score is; only in answers to requests with `explain=true`."""


class ListReasons(msgspec.Struct):
    """Reasons that hold for a list as a whole."""

    ranker: str
    """The ranker that orders the list: `blend`, `river` or, for lists by counts alone, `counts`."""
    policies: list[str]
    """Rules of the request and of the model that decided which items could be in the list."""


class MadeFrom(msgspec.Struct):
    """Number of items of a list by where they come from."""

    ranked: int
    """Candidates of the sources, or those that the request named, in the order of the model."""
    popular: int
    """Items that were added, or listed, by their counts alone."""
    newest: int
    """Items that were added because they are new, those included that have no event yet."""
    bought_together: int | UnsetType = UNSET
    """Items that are in one basket with the item of the list; only in lists of what is bought together."""


class Recommendations(msgspec.Struct):
    """A list of items, best first."""

    answer: str
    """Id of this answer."""
    model: str
    version: int | None
    """Number of the version that answered; null while nothing was learned yet."""
    version_id: str | None
    """Id of that version. It stands for everything that was learned, what is remembered of visitors included."""
    fallback: str | None
    """Null if the list is personal (or really about this item), else what it was made from instead: `session`,
    `trending`, `popular`, `newest`, or `empty` while nothing was learned."""
    made_from: MadeFrom
    """Number of items by where they come from."""
    catalogue_revision: int
    """Number of the last change of the catalogue that the list knows; 0 without a catalogue. The same request, version
    and revision give the same answer, but for its id."""
    items: list[Scored]
    explanation: ListReasons | UnsetType = UNSET
    """Reasons that hold for the whole list; only in answers to requests with `explain=true`."""


class Explanation(msgspec.Struct):
    """Everything that `explain=true` adds to a list."""

    whole: ListReasons
    items: list[Reasons]
    """One for each item, in the order of the list."""


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
        made_from(ranking),
        catalogue_revision,
        list(map(Scored, ranking.items, ranking.scores)),
    )


def made_from(ranking: Ranking) -> MadeFrom:
    """Number of items of a ranking by where they come from."""
    ranked = len(ranking.items) - ranking.popular - ranking.newest
    if ranking.together is None:
        return MadeFrom(ranked, ranking.popular, ranking.newest)
    return MadeFrom(ranked - ranking.together, ranking.popular, ranking.newest, ranking.together)


def with_reasons(response: Recommendations, explanation: Explanation) -> Recommendations:
    """The response, with the reasons of each item."""
    for item, reasons in zip(response.items, explanation.items, strict=True):
        item.reasons = reasons
    response.explanation = explanation.whole
    return response
