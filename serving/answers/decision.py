"""Policies of every list: a plan made before scoring and an arrangement made after it.

    Ask, Context  ── plan ──▶  Plan  ── score ──▶  Ranking  ── arrange ──▶  Ranking

This file decides what a request means for its list, whichever route it came by: which items may be candidates, with
which options they are ranked, and in which order and with which words the result is given back. It reads no clock, no
network and no loader: the same ask and context always give the same list.

A policy is one small pure function:

- **Before scoring.** An option of ranking is a field of `stream.models.query.Query`, filled in by `plan`. A policy that
  hides items returns a mask over item rows and is listed in `MASKS`; hidden items never become candidates, so the
  list still fills up with others.
- **After scoring.** A policy that cuts, reorders or relabels takes a ranking and returns one, and is listed in
  `ARRANGEMENTS`.

`repeats = first` is a policy of the model settings, not of a request: `Model` applies it to every query, because
learning and testing follow it too.

A policy that a request does not use costs no allocation: without masks no array is made, and an arrangement that
changes nothing returns the ranking it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.models.model import Model
from stream.models.query import Query, Ranking
from stream.models.source_names import HALF_LIFE_NAMES, LONGEST
from stream.versions import Version

POPULAR_HALF_LIFE = HALF_LIFE_NAMES[LONGEST]
"""Half-life of the counts behind `/v1/popular`: the longest there is."""

TRENDING_HALF_LIFE = "2h"
"""Half-life of the counts behind `/v1/trending`: an event of two hours ago counts half."""

EMPTY = Ranking(items=[], scores=[], fallback="empty")
"""Answer before the first version is published: nothing can be recommended, and a page still has to be rendered."""

NO_ITEMS: frozenset[str] = frozenset()

Mask = NDArray[np.uint8]
"""One byte for each row of the items table: 0 hides the item everywhere in the list, 1 allows it."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A request for one list, independent of the route it came by. Ids are text and have been checked.

    The list is for a visitor unless `item` or `half_life` is set. Made from JSON or a query string, an ask can't be
    part of a reference cycle, so the garbage collector need not track it.

    Attributes:
        user, session: ids of the visitor, as in events; either, both or none.
        recent: items that the visitor just had, oldest first.
        candidates: rank only these; None: the sources of the model propose.
        exclude: items that must not be in the list.
        exclude_seen: leave out every item in the visitor's history.
        profiling: False leaves out everything that is known of the visitor: the list is made from what the request
            itself names and from what is popular.
        n: length of the list.
        item: items similar to this one, instead of items for a visitor.
        half_life: items by decayed counts, one of `HALF_LIFE_NAMES`, instead of items for a visitor. Only `n` and masks
            apply to such a list.
    """

    user: str | None = None
    session: str | None = None
    recent: Sequence[str] = ()
    candidates: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    exclude_seen: bool = False
    profiling: bool = True
    n: int = 10
    item: str | None = None
    half_life: str | None = None


class Context(msgspec.Struct, frozen=True, gc=False):
    """Everything beside the request that a policy may look at.

    Attributes:
        version: the version that answers.
        model: its tables (read only) and its settings.
    """

    version: Version
    model: Model


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Input of scoring.

    Attributes:
        query: visitor, history, candidates and options of ranking.
        half_life: rank by decayed counts over this half-life instead of for a visitor; None: for a visitor.
        allowed: mask over item rows; None: every item may be a candidate.
    """

    query: Query
    half_life: str | None = None
    allowed: Mask | None = None


MaskPolicy = Callable[[Ask, Context], Mask | None]
"""Policy before scoring: a mask over item rows, or None if it hides nothing for this request."""

ArrangementPolicy = Callable[[Ranking, Ask, Context], Ranking]
"""Policy after scoring: the ranking to give back. Returns the very same object if there is nothing to change."""


# ---- before scoring


def recent_items(ask: Ask) -> Sequence[str]:
    """History that comes with the request: for a list of similar items, that item alone.

    >>> recent_items(Ask(item="lamp"))
    ['lamp']
    """
    return ask.recent if ask.item is None else [ask.item]


def excluded_items(ask: Ask) -> Collection[str]:
    """Items that must not be in the list; an item is not similar to itself.

    >>> sorted(excluded_items(Ask(item="lamp", exclude=["desk"])))
    ['desk', 'lamp']
    """
    if ask.item is not None:
        return {*ask.exclude, ask.item}
    return frozenset(ask.exclude) if ask.exclude else NO_ITEMS


MASKS: tuple[MaskPolicy, ...] = ()
"""Policies that hide items. A hidden item is hidden whatever the others say."""


def allowed_items(ask: Ask, context: Context, masks: Sequence[MaskPolicy]) -> Mask | None:
    """Items that all mask policies allow, or None if none of them hides anything."""
    allowed: Mask | None = None
    for policy in masks:
        mask = policy(ask, context)
        if mask is not None:
            allowed = mask if allowed is None else np.minimum(allowed, mask)
    return allowed


def plan(ask: Ask, context: Context, masks: Sequence[MaskPolicy] = MASKS) -> Plan:
    """Allowed candidates and options of ranking, before anything is scored."""
    query = Query(
        user=ask.user if ask.profiling else None,
        session=ask.session if ask.profiling else None,
        recent=recent_items(ask),
        n=ask.n,
        exclude=excluded_items(ask),
        exclude_seen=ask.exclude_seen,
        candidates=ask.candidates,
    )
    return Plan(query, ask.half_life, allowed_items(ask, context, masks) if masks else None)


# ---- scoring


def score(model: Model, planned: Plan) -> Ranking:
    """Score a plan with its model.

    The moment of the list is the model's own clock, the time of its last learned event, not the server's: one version
    gives one list, at any time and on any server, and a rollback gives back the very same scores.
    """
    if planned.half_life is not None:
        return model.popular(planned.query.n, half_life=planned.half_life, allowed=planned.allowed)
    return model.recommend(planned.query, planned.allowed)


# ---- after scoring


def cut_to_length(ranking: Ranking, ask: Ask, _: Context) -> Ranking:
    """Cut the ranking to the requested length; a plan may score more items than that."""
    if len(ranking.items) <= ask.n:
        return ranking
    return Ranking(ranking.items[: ask.n], ranking.scores[: ask.n], ranking.fallback)


ARRANGEMENTS: tuple[ArrangementPolicy, ...] = (cut_to_length,)
"""Policies after scoring, in the order in which they are applied; the last one cuts."""


def arrange(
    ranking: Ranking, ask: Ask, context: Context, arrangements: Sequence[ArrangementPolicy] = ARRANGEMENTS
) -> Ranking:
    """The list to give back: its order, its length and its `fallback`."""
    for policy in arrangements:
        ranking = policy(ranking, ask, context)
    return ranking


def decide(
    ask: Ask,
    context: Context | None,
    masks: Sequence[MaskPolicy] = MASKS,
    arrangements: Sequence[ArrangementPolicy] = ARRANGEMENTS,
) -> Ranking:
    """The list for a request: plan, score, arrange.

    Args:
        ask: the request.
        context: None before the first version is published; the answer is `EMPTY` then.
        masks: policies before scoring.
        arrangements: policies after scoring.
    """
    if context is None:
        return EMPTY
    return arrange(score(context.model, plan(ask, context, masks)), ask, context, arrangements)
