"""Answers of the server, as objects with types.

Fields that a newer server adds are ignored, so an older client goes on working.

This file decides the types of answers about lists, events, versions and the server. Those of the catalogue are in
`corrente.documents`.
"""

from __future__ import annotations

import msgspec


class FeaturePart(msgspec.Struct, frozen=True):
    """Part of a score that one feature has: `value` · `weight`."""

    feature: str
    value: float
    weight: float


class SourcePart(msgspec.Struct, frozen=True):
    """Part of a score that one source has.

    Attributes:
        source: its name.
        value: the value that it gives the item.
        rank: place of the item among all candidates by this source alone, from 1.
        contribution: sum of the parts of its features.
    """

    source: str
    value: float
    rank: int
    contribution: float


class HistoryPart(msgspec.Struct, frozen=True):
    """Part of a score that one item of the visitor's history stands behind.

    Attributes:
        item: of the history.
        contribution: its share of the contributions of `sources`.
        sources: that led from it to the item of the list.
    """

    item: str
    contribution: float
    sources: list[str]


class Reasons(msgspec.Struct, frozen=True):
    """Sum that a score is: `intercept` + the sum of `value` · `weight` over `features`.

    Attributes:
        intercept: part that no feature has.
        features: those that are not 0, the largest part first.
        sources: those that know the item, the largest contribution first.
        history: items of the visitor's history behind it.
        policies: rules that put the item at its place; empty if the score alone did.
    """

    intercept: float
    features: list[FeaturePart]
    sources: list[SourcePart] = []
    history: list[HistoryPart] = []
    policies: list[str] = []


class ListReasons(msgspec.Struct, frozen=True):
    """Reasons that hold for a list as a whole: the ranker, and rules that decided which items could be in it."""

    ranker: str
    policies: list[str]


class Scored(msgspec.Struct, frozen=True):
    """One item of a list, with its score, and its reasons if they were asked for."""

    item: str
    score: float
    reasons: Reasons | None = None


class MadeFrom(msgspec.Struct, frozen=True):
    """Number of items of a list by where they come from.

    Attributes:
        ranked: candidates in the order of the model.
        popular: items that were added by their counts alone.
        newest: items that were added because they are new.
        bought_together: items that are in one basket with the item of the list; None in lists that are not about it.
    """

    ranked: int
    popular: int
    newest: int
    bought_together: int | None = None


class Recommendations(msgspec.Struct, frozen=True):
    """A list of items, best first.

    Attributes:
        answer: id of this answer; events that follow from the list carry it as their `answer`.
        model: name of the model.
        version, version_id: the version that answered; None while nothing was learned yet.
        fallback: None if the list is personal, else what it was made from instead.
        made_from: number of items by where they come from.
        catalogue_revision: number of the last change of the catalogue that the list knows.
        items: the list.
        explanation: reasons that hold for the whole list, if they were asked for.
    """

    answer: str
    model: str
    version: int | None
    version_id: str | None
    fallback: str | None
    made_from: MadeFrom
    catalogue_revision: int
    items: list[Scored]
    explanation: ListReasons | None = None

    @property
    def item_ids(self) -> list[str]:
        """Ids of the items, best first."""
        return [each.item for each in self.items]


class ListProblem(msgspec.Struct, frozen=True):
    """Reason why one request of several got no list: `detail` says what would be right, `field` where."""

    title: str
    status: int
    detail: str
    field: str | None = None


class ListOrProblem(msgspec.Struct, frozen=True):
    """The list of one request of several, or its problem."""

    list: Recommendations | None = None
    problem: ListProblem | None = None


class RecommendationsForMany(msgspec.Struct, frozen=True):
    """Lists for several visitors.

    Attributes:
        refused: number of requests that got a problem.
        lists: one for each request, in the same order.
    """

    refused: int
    lists: list[ListOrProblem]


class Accepted(msgspec.Struct, frozen=True):
    """Kafka has all events.

    Attributes:
        accepted: number of events.
        event_ids: id of each event, in order.
        repeated: number of these events whose id stands at an earlier event of the same body.
    """

    accepted: int
    event_ids: list[str]
    repeated: int = 0


class VersionSummary(msgspec.Struct, frozen=True):
    """One version in a list; `served` is True for the one that this server answers from."""

    number: int
    id: str
    parent: str | None
    lineage: str
    created_at: str
    events: int
    aliases: list[str]
    served: bool


class AliasMove(msgspec.Struct, frozen=True):
    """One move of an alias. `came_from` and `to` are numbers of versions; None: the alias was not set."""

    name: str
    came_from: int | None = msgspec.field(name="from")
    to: int | None
    who: str
    why: str
    at: float


class VersionList(msgspec.Struct, frozen=True):
    """Kept versions, newest first, with aliases and the history of their moves."""

    model: str
    served: int | None
    pinned: int | None
    aliases: dict[str, int]
    versions: list[VersionSummary]
    history: list[AliasMove]


class Pinned(msgspec.Struct, frozen=True):
    """Version that this server answers from now, and the pinned one; None: the newest is followed.

    Attributes:
        served, served_id: of the version that answers.
        pinned: number of the pinned version.
        announced: False if Redis refused to announce the move, so that other servers follow later.
        note: the refusal, in words.
    """

    served: int | None
    served_id: str | None
    pinned: int | None
    announced: bool = True
    note: str | None = None


class Live(msgspec.Struct, frozen=True):
    """The process runs."""

    status: str


class DependencyHealth(msgspec.Struct, frozen=True):
    """Redis or Kafka, as the server sees it."""

    up: bool
    since: str | None = None
    reason: str | None = None


class StoppedHealth(msgspec.Struct, frozen=True):
    """A shard that is not learned at present, with the reason and what mends it."""

    shard: int
    since: str
    reason: str
    detail: str
    mend: str
    worker: str
    partitions: list[str]


class Health(msgspec.Struct, frozen=True):
    """State of a server. A key without `metrics:read` sees `status` and `access` alone.

    Attributes:
        status: `starting`, `ready`, or `degraded`: it answers, and something is unavailable or a shard stands still.
        access: `open` or `keys`.
        since: moment since which it is degraded (RFC 3339).
        model: name of the model.
        version, version_id: of the version that answers.
        redis, kafka: as the server sees them.
        problem: reason why the version to be served can't be loaded.
        stopped: shards that are not learned at present.
    """

    status: str
    access: str = "open"
    since: str | None = None
    model: str | None = None
    version: int | None = None
    version_id: str | None = None
    redis: DependencyHealth | None = None
    kafka: DependencyHealth | None = None
    problem: str | None = None
    stopped: list[StoppedHealth] = msgspec.field(default_factory=list)


class Parameter(msgspec.Struct, frozen=True):
    """One of the parameters that decide the lists; `effect` is `raises` or `lowers`."""

    name: str
    description: str
    weight: float
    effect: str
    needs_history: bool


class Transparency(msgspec.Struct, frozen=True):
    """The main parameters that decide the lists of the version that answers, the largest weight first."""

    model: str
    version: int | None
    version_id: str | None
    parameters: list[Parameter]
    without_profiling: str
    other_rules: str
