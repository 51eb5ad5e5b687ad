"""Lists under random catalogues and filters: every item passes, none comes twice, and `n` come whenever `n` exist."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.answers.decision import POPULAR_HALF_LIFE, TRENDING_HALF_LIFE, Ask, Context, decide
from stream.catalogue.columns import Change
from stream.catalogue.filters import NO_FILTER, Filter
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue, View
from stream.models.ranking.allowed import AllowedItems
from tests.serving.answers.shop import CLICKS, ITEMS, Loaded, shop

UNMET = [f"new {number}" for number in range(6)]
"""Items of the catalogue without any event."""


@cache
def loaded() -> Loaded:
    return shop().served


@cache
def known_to_the_model() -> frozenset[str]:
    return frozenset(item for _, item in CLICKS)


documents = st.builds(
    Item,
    tags=st.lists(st.sampled_from(["a", "b"]), max_size=2),
    price=st.none() | st.integers(0, 3).map(float),
    hidden=st.sampled_from([False, False, False, True]),
    available=st.sampled_from([True, True, True, False]),
    published_at=st.none() | st.integers(1, 9),
)
catalogues = st.dictionaries(st.sampled_from(ITEMS + UNMET), st.none() | documents)
filters = st.sampled_from(
    [
        NO_FILTER,
        Filter(tags=("a",)),
        Filter(tags_none=("a",)),
        Filter(price_min=2.0),
        Filter(tags_all=("a", "b"), price_max=1.0),
        Filter(available=True),
    ]
)
some_items = st.lists(st.sampled_from([*ITEMS, *UNMET, "unknown"]), max_size=8)
asks = st.one_of(
    st.builds(
        Ask,
        user=st.sampled_from([None, "u1", "stranger"]),
        recent=some_items,
        candidates=st.none() | some_items,
        include=st.none() | some_items,
        exclude=some_items,
        exclude_seen=st.booleans(),
    ),
    st.builds(Ask, item=st.sampled_from([*ITEMS, *UNMET, "unknown"])),
    st.builds(Ask, half_life=st.sampled_from([POPULAR_HALF_LIFE, TRENDING_HALF_LIFE])),
)


def passes(document: Item | None, wanted: Filter, known: bool) -> bool:
    if not known:
        return wanted == NO_FILTER
    if document is None or document.hidden or not document.available:
        return False
    price, tags = document.price, document.tags
    return (
        (not wanted.tags or "a" in tags)
        and all(tag in tags for tag in wanted.tags_all)
        and not any(tag in tags for tag in wanted.tags_none)
        and (wanted.price_min is None or (price is not None and price >= wanted.price_min))
        and (wanted.price_max is None or (price is not None and price <= wanted.price_max))
    )


def may_be_listed(ask: Ask, written: dict[str, Item | None], wanted: Filter) -> set[str]:
    """Items that a list may hold, found by looking at each item that anything knows of."""
    met = known_to_the_model()
    there = met | {item for item, document in written.items() if document is not None}
    found = {item for item in there if passes(written.get(item), wanted, item in written)}
    if ask.half_life is not None:
        return found
    for only in (ask.candidates, ask.include):
        found = found if only is None else found & set(only)
    had = {item for user, item in CLICKS if user == ask.user} if ask.exclude_seen else set()
    had |= set(ask.recent) & met if ask.exclude_seen else set()
    return found - set(ask.exclude) - {ask.item} - had


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(catalogues, filters, asks, st.integers(1, 40))
def test_a_list_is_what_it_may_be_and_as_long_as_it_can_be(
    written: dict[str, Item | None], wanted: Filter, asked: Ask, n: int
) -> None:
    catalogue = Catalogue()
    catalogue.view(wanted, loaded().for_catalogue)  # the filter is in use before the catalogue changes
    changes = [Change(item, number + 1, document) for number, (item, document) in enumerate(written.items())]
    catalogue.apply(changes, len(changes))
    ask = Ask(**{name: getattr(asked, name) for name in Ask.__struct_fields__} | {"n": n, "wanted": wanted})
    if ask.candidates is not None:
        ask = Ask(**{name: getattr(ask, name) for name in Ask.__struct_fields__} | {"include": None})
    violations: list[int] = []
    view = catalogue.view(wanted, loaded().for_catalogue)
    ranking = decide(ask, Context(loaded().version, loaded().model, view, violations.append))
    allowed = may_be_listed(ask, written, wanted)
    assert set(ranking.items) <= allowed
    assert len(set(ranking.items)) == len(ranking.items) == min(n, len(allowed))
    assert ranking.scores == sorted(ranking.scores, reverse=True)
    assert 0 <= ranking.popular + ranking.newest <= len(ranking.items)
    assert violations == []


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
