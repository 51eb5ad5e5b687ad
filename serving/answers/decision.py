"""Policies of every list: a plan made before scoring and an arrangement made after it.

    Ask, Context  ── plan ──▶  Plan  ── score ──▶  Ranking  ── arrange ──▶  Ranking

This file decides what a request means for its list, whichever route it came by: which items may be candidates, with
which options they are ranked, and in which order and with which words the result is given back. It reads no clock, no
network and no loader: the same ask and context always give the same list.

A policy is one small pure function:

- **Before scoring.** An option of ranking is a field of `stream.models.query.Query`, filled in by `plan`. The filter of
  a request, and what the catalogue hides from every list, come as the view of the catalogue. Another policy that
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
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.answers import rankings
from serving.answers.contexts import FILLED, LISTS
from stream.catalogue.filters import NO_FILTER, Filter
from stream.catalogue.snapshot import View
from stream.models.model import Model
from stream.models.query import Query, Ranking
from stream.models.ranking.allowed import AllowedItems
from stream.versions import Version

EMPTY = Ranking(items=[], scores=[], fallback="empty")
"""Answer before the first version is published: nothing can be recommended, and a page still has to be rendered."""

NO_ITEMS: frozenset[str] = frozenset()

RECENT_KINDS = {
    "click": "clicked",
    "view": "clicked",
    "cart": "carted",
    "purchase": "bought",
    "like": "",
    "dislike": "",
}
"""Kinds of recent events that a request can name, and the word by which `seen_kinds` leaves their items out."""

Mask = NDArray[np.uint8]
"""One byte for each row of the items table: 0 hides the item everywhere in the list, 1 allows it."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A request for one list, independent of the route it came by. Ids are text and have been checked.

    The list is for a visitor unless `item` or `half_life` is set. Made from JSON or a query string, an ask can't be
    part of a reference cycle, so the garbage collector need not track it.

    Attributes:
        user, session: ids of the visitor, as in events; either, both or none.
        recent: items that the visitor just had, oldest first.
        recent_kinds: kind of the event of each of these, some of `RECENT_KINDS`; empty: all are clicks.
        candidates: rank only these; None: the sources of the model propose.
        include: only these items may be in the list; None: all.
        exclude: items that must not be in the list.
        exclude_seen: leave out every item in the visitor's history.
        seen_kinds: leave out items of the visitor's events of these kinds, as `Query.exclude_kinds` names them.
        seen_within: how long ago an event of `seen_kinds` may be, in seconds; None: any time.
        profiling: False leaves out everything that is known of the visitor: the list is made from what the request
            itself names and from what is popular.
        n: length of the list.
        wanted: filter that every item has to pass.
        item: items similar to this one, instead of items for a visitor.
        half_life: items by decayed counts, one of `HALF_LIFE_NAMES`, instead of items for a visitor. Only `n`, the
            filter and masks apply to such a list.
        explain: give the reasons of each item (`serving.answers.explain`). The list is the same.
        basket: items in the basket now, in the order in which they were put there; none of them is in the list.
        keep_all: every candidate is in the list; those that the model doesn't rank come last.
        context: a list that no ranker orders, one of `LISTS`, instead of items for a visitor. That of what is bought
            together is about `item`.
    """

    user: str | None = None
    session: str | None = None
    recent: Sequence[str] = ()
    recent_kinds: Sequence[str] = ()
    candidates: Sequence[str] | None = None
    include: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    exclude_seen: bool = False
    seen_kinds: Sequence[str] = ()
    seen_within: float | None = None
    profiling: bool = True
    n: int = 10
    wanted: Filter = NO_FILTER
    item: str | None = None
    half_life: str | None = None
    explain: bool = False
    basket: Sequence[str] = ()
    keep_all: bool = False
    context: str | None = None

    def without_profiling(self) -> Ask:
        """The ask of a visitor who wants no profiling: nothing that is known counts, and `exclude_seen` has no effect.

        >>> Ask(user="ada", exclude_seen=True, n=5).without_profiling() == Ask(user="ada", profiling=False, n=5)
        True
        """
        return msgspec.structs.replace(self, profiling=False, exclude_seen=False, seen_kinds=(), seen_within=None)


class Context(msgspec.Struct, frozen=True, gc=False):
    """Everything beside the request that a policy may look at.

    Attributes:
        version: the version that answers; None before the first one is published.
        model: its tables (read only) and its settings; None before there is one.
        view: the catalogue under the filter of this request; None: there is no catalogue.
        violated: is called with a number of items that a finished list must not hold.
    """

    version: Version | None
    model: Model | None
    view: View | None = None
    violated: Callable[[int], None] = lambda _: None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Input of scoring.

    Attributes:
        query: visitor, history, candidates and options of ranking.
        half_life: rank by decayed counts over this half-life instead of for a visitor; None: for a visitor.
        allowed: items that may be candidates; None: every item.
    """

    query: Query
    half_life: str | None = None
    allowed: AllowedItems | None = None


MaskPolicy = Callable[[Ask, Context], Mask | None]
"""Policy before scoring: a mask over item rows, or None if it hides nothing for this request."""

ArrangementPolicy = Callable[[Ranking, Ask, Context], Ranking]
"""Policy after scoring: the ranking to give back. Returns the very same object if there is nothing to change."""


# ---- before scoring


def recent_items(ask: Ask) -> Sequence[str]:
    """History that comes with the request: for a list of similar items, that item alone. A basket is newest.

    >>> recent_items(Ask(item="lamp")), recent_items(Ask(recent=["desk"], basket=["lamp"]))
    (['lamp'], ['desk', 'lamp'])
    """
    if ask.item is not None:
        return [ask.item]
    recent = ask.recent
    if ask.recent_kinds:
        recent = [item for item, kind in zip(ask.recent, ask.recent_kinds, strict=True) if kind != "dislike"]
    return [*recent, *ask.basket] if ask.basket else recent


def disliked_items(ask: Ask) -> Sequence[str]:
    """Items that the request says are disliked.

    >>> disliked_items(Ask(recent=["lamp", "desk"], recent_kinds=["dislike", "cart"]))
    ['lamp']
    """
    if not ask.recent_kinds:
        return ()
    return [item for item, kind in zip(ask.recent, ask.recent_kinds, strict=True) if kind == "dislike"]


def recently_had(ask: Ask) -> Collection[str]:
    """Recent items whose kind of event is one of those that the list leaves out.

    >>> sorted(recently_had(Ask(recent=["lamp", "desk"], recent_kinds=["cart", "click"], seen_kinds=["carted"])))
    ['lamp']
    """
    if not ask.seen_kinds or not ask.recent:
        return NO_ITEMS
    kinds = ask.recent_kinds or ["click"] * len(ask.recent)
    wanted = {kind for kind, word in RECENT_KINDS.items() if word in ask.seen_kinds or "any" in ask.seen_kinds}
    return {item for item, kind in zip(ask.recent, kinds, strict=True) if kind in wanted}


def excluded_items(ask: Ask) -> Collection[str]:
    """Items that must not be in the list; an item is not similar to itself, and what is in the basket is not offered.

    >>> sorted(excluded_items(Ask(item="lamp", exclude=["desk"])))
    ['desk', 'lamp']
    """
    if ask.item is not None:
        return {*ask.exclude, ask.item}
    if ask.basket or (ask.seen_kinds and ask.recent):
        return {*ask.exclude, *ask.basket, *recently_had(ask)}
    return frozenset(ask.exclude) if ask.exclude else NO_ITEMS


def included_items(ask: Ask, context: Context) -> Mask | None:
    """A mask that allows the items which alone may be in the list."""
    if ask.include is None or context.model is None:
        return None
    mask = np.zeros(context.model.item_rows, np.uint8)
    mask[context.model.rows_of(ask.include)] = 1
    return mask


MASKS: tuple[MaskPolicy, ...] = (included_items,)
"""Policies that hide items. A hidden item is hidden whatever the others say."""


def allowed_items(ask: Ask, context: Context, masks: Sequence[MaskPolicy]) -> AllowedItems | None:
    """Items that the catalogue and all mask policies allow, or None if nothing is hidden."""
    catalogued = context.view.allowed if context.view is not None else None
    allowed: Mask | None = None
    for policy in masks:
        mask = policy(ask, context)
        if mask is not None:
            allowed = mask if allowed is None else np.minimum(allowed, mask)
    if allowed is None:
        return catalogued
    return AllowedItems(allowed if catalogued is None else np.minimum(allowed, catalogued.mask))


def plan(ask: Ask, context: Context, masks: Sequence[MaskPolicy] = MASKS) -> Plan:
    """Allowed candidates and options of ranking, before anything is scored."""
    query = Query(
        user=ask.user if ask.profiling else None,
        session=ask.session if ask.profiling else None,
        recent=recent_items(ask),
        n=ask.n,
        exclude=excluded_items(ask),
        exclude_seen=ask.exclude_seen,
        exclude_kinds=ask.seen_kinds,
        seen_within=ask.seen_within,
        disliked=disliked_items(ask),
        candidates=ask.candidates,
    )
    return Plan(query, ask.half_life, allowed_items(ask, context, masks))


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


def only_shown(ranking: Ranking, _: Ask, context: Context) -> Ranking:
    """Take out items that the catalogue or the filter forbids.

    None is there, because such items are no candidates. Each is counted, and an alert says that a mask was wrong.
    """
    view = context.view
    if view is None or view.allowed is None or ranking.checked or view.shows_all(ranking.items):
        return ranking
    shown = list(map(view.shows, ranking.items))
    context.violated(len(shown) - sum(shown))
    return rankings.without_hidden(ranking, shown)


def fill_with_unmet(ranking: Ranking, ask: Ask, context: Context) -> Ranking:
    """Go on with items of the catalogue that have no event yet, the newest first, if the list is too short.

    Named candidates come in the order in which they were named. The scores lie below those of the list.
    """
    missing = ask.n - len(ranking.items)
    if missing <= 0 or ask.context not in FILLED or context.view is None or not context.view.result.passes.size:
        return ranking
    among = ask.candidates if ask.candidates is not None else ask.include
    left_out = excluded_items(ask)
    unmet = (item for item in dict.fromkeys(context.view.unmet(among)) if item not in left_out)
    return rankings.with_added(ranking, list(islice(unmet, missing)))


def keep_candidates(ranking: Ranking, ask: Ask, context: Context) -> Ranking:
    """End with the candidates that the model didn't rank, as they were named. What the catalogue forbids stays out."""
    if not ask.keep_all or ask.candidates is None:
        return ranking
    view, listed = context.view, set(ranking.items)
    rest = [each for each in dict.fromkeys(ask.candidates) if each not in listed and (view is None or view.shows(each))]
    return rankings.with_added(ranking, rest)


def cut_to_length(ranking: Ranking, ask: Ask, _: Context) -> Ranking:
    """Cut the ranking to the requested length; a plan may score more items than that."""
    return rankings.cut(ranking, ask.n)


ARRANGEMENTS: tuple[ArrangementPolicy, ...] = (only_shown, fill_with_unmet, keep_candidates, cut_to_length)
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
        context: None without a version and a catalogue; the answer is `EMPTY` then.
        masks, arrangements: policies before and after scoring.
    """
    if context is None:
        return EMPTY
    planned = plan(ask, context, masks)
    if ask.context is not None:
        ranking = LISTS[ask.context](context.model, context.view, planned.query, planned.allowed)
    else:
        ranking = EMPTY if context.model is None else score(context.model, planned)
    return arrange(ranking, ask, context, arrangements)
