"""Lists under random catalogues and filters: every item passes, none comes twice, and `n` come whenever `n` exist."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.answers.contexts import POPULAR_HALF_LIFE, TRENDING_HALF_LIFE
from serving.answers.decision import Ask, Context, decide, recent_items
from stream.catalogue.columns import Change
from stream.catalogue.filters import NO_FILTER, Filter
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue, View
from stream.models.ranking.allowed import AllowedItems
from tests.serving.answers.shop import CLICKS, EARLY_CLICKS, ITEMS, Loaded, shop
from tests.stream.catalogue.test_filters import filters
from tests.stream.catalogue.test_filters import items as documents
from tests.stream.catalogue.test_filters import passes as passes_filter

UNMET = [f"new {number}" for number in range(6)]
"""Items of the catalogue without any event."""

MODELS: Mapping[str, Mapping[str, Any]] = {"blend": {}, "river": {"ranker": "river"}, "first": {"repeats": "first"}}
"""Settings of the models."""


@cache
def versions(model: str) -> tuple[Loaded, ...]:
    """An older version, which a request may name, and the newest one."""
    return shop(**MODELS[model]).loaded


def loaded() -> Loaded:
    return versions("blend")[-1]


def learned_by(version: Loaded) -> list[tuple[str, str]]:
    return CLICKS[:EARLY_CLICKS] if version.version.number == 1 else CLICKS


@cache
def known_to_the_model() -> frozenset[str]:
    return frozenset(item for _, item in CLICKS)


catalogues = st.dictionaries(st.sampled_from(ITEMS + UNMET), st.none() | documents)
some_filters = st.just(NO_FILTER) | st.just(Filter(available=True)) | filters
some_items = st.lists(st.sampled_from([*ITEMS, *UNMET, "unknown"]), max_size=8)
asks = st.one_of(
    st.builds(
        Ask,
        user=st.sampled_from([None, "u1", "v2", "stranger"]),
        session=st.sampled_from([None, None, "u3", "unknown"]),
        recent=some_items,
        candidates=st.none() | some_items,
        exclude=some_items,
        exclude_seen=st.booleans(),
    ),
    st.builds(Ask, user=st.sampled_from(["u1", "v2"]), recent=some_items, profiling=st.just(False)),
    st.builds(Ask, user=st.sampled_from(["u1", "stranger"]), include=some_items, exclude=some_items),
    st.builds(Ask, item=st.sampled_from([*ITEMS, *UNMET, "unknown"])),
    st.builds(Ask, half_life=st.sampled_from([POPULAR_HALF_LIFE, TRENDING_HALF_LIFE])),
)


def passes(document: Item | None, wanted: Filter, known: bool) -> bool:
    if not known:  # what a visitor hides is no wish for the rest: such items stay
        return msgspec.structs.replace(wanted, hidden_brands=(), hidden_categories=()) == NO_FILTER
    return document is not None and passes_filter(document, wanted)


def may_be_listed(version: Loaded, ask: Ask, written: dict[str, Item | None], wanted: Filter) -> set[str]:
    """Items that a list may hold, found by looking at each item that anything knows of."""
    clicks = learned_by(version)
    met = {item for _, item in clicks}
    there = met | {item for item, document in written.items() if document is not None}
    found = {item for item in there if passes(written.get(item), wanted, item in written)}
    if ask.half_life is not None:
        return found
    for only in (ask.candidates, ask.include):
        found = found if only is None else found & set(only)
    visitor = ask.user if ask.profiling else None
    had = {item for user, item in clicks if user == visitor}
    never = had if version.model.settings.repeats == "first" else set()
    if ask.exclude_seen:
        never = never | had | (set(ask.recent) & met)
    elif version.model.settings.repeats == "first":
        never = never | (set(recent_items(ask)) & met)
    return found - set(ask.exclude) - {ask.item} - never


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.sampled_from(list(MODELS)), st.integers(0, 1), catalogues, some_filters, asks, st.integers(1, 40), st.data())
def test_a_list_is_what_it_may_be_and_as_long_as_it_can_be(
    model: str, number: int, written: dict[str, Item | None], wanted: Filter, asked: Ask, n: int, data: st.DataObject
) -> None:
    """Every part of a filter, every kind of list, both versions of three models, before and after a change."""
    version = versions(model)[number]
    catalogue = Catalogue()
    ask = msgspec.structs.replace(asked, n=n, wanted=wanted)
    revision = 0
    documents_now: dict[str, Item | None] = {}
    changed = data.draw(catalogues) if data.draw(st.booleans()) else {}
    for change in (written, changed):
        catalogue.view(wanted, version.for_catalogue)  # the filter is in use before the catalogue changes
        changes = [Change(item, revision + at, document) for at, (item, document) in enumerate(change.items(), 1)]
        revision += len(changes)
        catalogue.apply(changes, revision)
        documents_now |= change
        violations: list[int] = []
        view = catalogue.view(wanted, version.for_catalogue)
        ranking = decide(ask, Context(version.version, version.model, view, violations.append))
        allowed = may_be_listed(version, ask, documents_now, wanted)
        assert set(ranking.items) <= allowed
        assert len(set(ranking.items)) == len(ranking.items) == min(n, len(allowed))
        assert ranking.scores == sorted(ranking.scores, reverse=True)
        assert 0 <= ranking.popular + ranking.newest <= len(ranking.items)
        assert violations == []
        assert view.revision == revision


def test_items_without_an_event_come_last_and_the_newest_of_them_first() -> None:
    catalogue = Catalogue()
    new = [
        Change(item, number + 1, Item(published_at=published))
        for number, (item, published) in enumerate(
            [("oldest", 100), ("undated", None), ("newest", 300), ("middle", 200)]
        )
    ]
    catalogue.apply(new, 4)
    view = catalogue.view(NO_FILTER, loaded().for_catalogue)
    ranking = decide(Ask(user="u1", n=40), Context(loaded().version, loaded().model, view))
    assert ranking.items[-4:] == ["newest", "middle", "oldest", "undated"]
    assert (ranking.newest, len(ranking.items)) == (4, len(known_to_the_model()) + 4)


def test_before_the_first_version_the_list_is_the_newest_of_the_catalogue() -> None:
    catalogue = Catalogue()
    catalogue.apply([Change("old", 1, Item(published_at=1)), Change("new", 2, Item(published_at=2))], 2)
    ranking = decide(Ask(user="u1"), Context(None, None, catalogue.view(NO_FILTER, None)))
    assert (ranking.items, ranking.fallback, ranking.newest) == (["new", "old"], "newest", 2)


def test_an_item_that_slips_through_a_mask_is_taken_out_and_counted() -> None:
    """The mask is made wrong on purpose: it lets everything through."""
    catalogue = Catalogue()
    catalogue.apply([Change(ITEMS[1], 1, Item(hidden=True))], 1)
    right = catalogue.view(NO_FILTER, loaded().for_catalogue)
    wrong = AllowedItems(right.allowed.mask | 1)
    violations: list[int] = []
    view = View(right.revision, wrong, right.result, catalogue, right.served)
    ranking = decide(Ask(user="u1", n=24), Context(loaded().version, loaded().model, view, violations.append))
    assert (violations, ITEMS[1] in ranking.items, len(ranking.items)) == ([1], False, 23)


@pytest.mark.parametrize("half_life", [POPULAR_HALF_LIFE, TRENDING_HALF_LIFE])
def test_without_a_catalogue_nothing_is_masked(half_life: str) -> None:
    view = Catalogue().view(NO_FILTER, loaded().for_catalogue)
    assert view.allowed is None
    ranking = decide(Ask(half_life=half_life, n=5), Context(loaded().version, loaded().model, view))
    assert ranking == loaded().model.popular(5, half_life=half_life)
