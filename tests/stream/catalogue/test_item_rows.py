"""Masks over a model's rows follow the model: through new items, evictions and versions in which nothing moved."""

from __future__ import annotations

import json

import numpy as np

from stream.catalogue.columns import Change
from stream.catalogue.filters import NO_FILTER, Filter
from stream.catalogue.item import Item
from stream.catalogue.item_rows import same_rows_key
from stream.catalogue.matching import matching
from stream.catalogue.snapshot import Catalogue, Served
from stream.ingest.records import Record
from stream.models.kernels.compile import packed
from stream.models.query import Query
from stream.models.ranking.allowed import AllowedItems, ListCheck
from stream.models.schema import ITEMS_EVICTED
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

ITEMS = 300
EVEN = Filter(tags=("even",))


class Learning:
    """A shard that remembers 64 items, and its versions as the catalogue sees them."""

    def __init__(self) -> None:
        settings = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=256)
        self.shard = Shard(settings, partition=0, shards=1)
        self.offset = 0
        self.versions = 0

    def learn(self, *items: int) -> Served:
        records = []
        for item in items:
            value = json.dumps({"user": f"u{item % 9}", "item": f"i{item}"}).encode()
            records.append(Record("clicks", self.offset, 1_700_000_000_000 + 1000 * self.offset, value))
            self.offset += 1
        assert self.shard.apply(records, rate=1.0) == []
        self.versions += 1
        model = self.shard.model()
        return Served(str(self.versions), same_rows_key(model, "one lineage"), model)


def shop() -> Catalogue:
    catalogue = Catalogue()
    documents = [Item(hidden=number % 3 == 0, tags=["even"] if number % 2 == 0 else []) for number in range(ITEMS)]
    catalogue.apply([Change(f"i{number}", number + 1, each) for number, each in enumerate(documents)], ITEMS)
    return catalogue


def listed(catalogue: Catalogue, wanted: Filter, served: Served) -> set[int]:
    ranking = served.model.recommend(Query(user="u1", n=64), catalogue.view(wanted, served).allowed)
    return {int(item[1:]) for item in ranking.items}


def known(served: Served) -> set[int]:
    return {int(item[1:]) for item in served.model.recommend(Query(user="u1", n=64)).items}


def test_masks_stay_right_while_items_are_evicted_and_rows_are_used_again() -> None:
    catalogue, learning = shop(), Learning()
    for start in range(0, ITEMS, 7):
        served = learning.learn(*range(start, min(ITEMS, start + 7)), *range(max(0, start - 9), start))
        there = known(served)
        assert listed(catalogue, NO_FILTER, served) == {number for number in there if number % 3}
        assert listed(catalogue, EVEN, served) == {number for number in there if number % 3 and number % 2 == 0}
    assert served.model.scalars[ITEMS_EVICTED] > 100, "rows had to be used again"


def test_a_mask_of_hidden_items_is_the_one_that_looking_at_every_item_gives() -> None:
    """Through evictions and changes; another catalogue, which knows no mask yet, looks at every item."""
    catalogue, learning = Catalogue(), Learning()
    documents = {f"i{number}": Item(brand=f"b{number % 7}", categories=[f"c{number % 5}"]) for number in range(ITEMS)}
    catalogue.apply([Change(item, 1, each) for item, each in documents.items()], 1)
    for start in range(0, ITEMS, 20):
        served = learning.learn(*range(start, start + 20))
        renamed = {
            f"i{number}": Item(brand=f"b{start % 7}", hidden=number % 2 == 0) for number in range(start, start + 4)
        }
        documents |= renamed
        catalogue.apply([Change(item, start + 2, each) for item, each in renamed.items()], start + 2)
        for wanted in (
            Filter(hidden_brands=("b1", f"b{start % 7}")),
            Filter(tags_none=("x",), hidden_categories=("c3",)),
        ):
            view = catalogue.view(wanted, served)
            catalogue.order_rows()
            fresh = Catalogue()
            fresh.apply([Change(item, 1, each) for item, each in documents.items()], 1)
            rows = np.array([fresh.row_of(item) for item in documents])
            plain = matching(wanted, fresh._columns, rows)
            expected = np.full(served.model.item_rows, view.result.passes_unknown, np.uint8)
            for item, shown in zip(documents, plain, strict=True):
                expected[served.model.rows_of([item])] = shown
            expected[0] = 0
            assert view.allowed is not None
            assert view.allowed.mask.tolist() == expected.tolist()
    assert served.model.scalars[ITEMS_EVICTED] > 100


def test_a_version_without_new_items_takes_over_the_mask_of_the_last_one() -> None:
    catalogue, learning = shop(), Learning()
    first = learning.learn(*range(1, 40))
    mask = catalogue.view(EVEN, first).allowed.mask
    second = learning.learn(4, 5, 6)
    assert second.same_rows == first.same_rows
    assert catalogue.view(EVEN, second).allowed.mask is mask
    third = learning.learn(100)
    assert third.same_rows != second.same_rows
    assert catalogue.view(EVEN, third).allowed.mask is not mask


def test_a_change_of_the_catalogue_is_in_the_mask_of_a_filter_that_is_in_use() -> None:
    catalogue, learning = shop(), Learning()
    served = learning.learn(*range(1, 40))
    before = catalogue.view(EVEN, served)
    assert 4 in listed(catalogue, EVEN, served)
    catalogue.apply([Change("i4", ITEMS + 1, Item(tags=["even"], available=False))], ITEMS + 1)
    assert 4 not in listed(catalogue, EVEN, served)
    catalogue.apply([Change("i4", ITEMS + 2, Item(tags=["even"])), Change("new", ITEMS + 3, Item())], ITEMS + 3)
    assert 4 in listed(catalogue, EVEN, served)
    assert before.revision == ITEMS, "a request keeps the catalogue with which it began"
    assert bool(before.result.passes[4])


def test_a_filter_that_rests_while_the_catalogue_changes_finds_all_changes_later() -> None:
    catalogue, learning = shop(), Learning()
    served = learning.learn(*range(1, 40))
    assert {4, 8, 10} <= listed(catalogue, EVEN, served)
    for number, item in enumerate(("i4", "i8", "i5"), ITEMS + 1):
        document = Item(tags=["even"]) if item == "i5" else Item(tags=["even"], hidden=True)
        catalogue.apply([Change(item, number, document)], number)
    now = listed(catalogue, EVEN, served)
    assert {4, 8, 10, 5} & now == {10, 5}


def test_a_filter_that_was_not_used_for_long_is_forgotten_and_found_again() -> None:
    catalogue, learning = shop(), Learning()
    served = learning.learn(*range(1, 40))
    expected = listed(catalogue, EVEN, served)
    for number in range(200):
        catalogue.view(Filter(price_min=float(number)), served)
    assert len(catalogue.current.results) <= 64
    for number in range(3):
        catalogue.apply([Change("i4", ITEMS + 1 + number, Item(tags=["even"]))], ITEMS + 1 + number)
        catalogue.view(Filter(price_min=float(number)), served)
        assert len(catalogue.current.results) + len(catalogue.current.older) <= 64
    assert listed(catalogue, EVEN, served) == expected


def test_a_list_is_checked_by_the_keys_of_its_items_and_not_by_the_mask() -> None:
    catalogue, learning = Catalogue(), Learning()
    served = learning.learn(*range(40))
    catalogue.apply([Change(f"i{number}", 1, Item(hidden=number % 3 == 0)) for number in range(40)], 1)
    allowed = catalogue.view(NO_FILTER, served).allowed
    assert allowed is not None
    query = Query(user="u1", n=20)
    assert served.model.recommend(query, allowed).checked
    assert not served.model.recommend(query, allowed.mask).checked, "nothing is known of a mask alone"
    assert allowed.check is not None
    wrong = AllowedItems(np.ones_like(allowed.mask), allowed.check)
    assert not served.model.recommend(query, wrong).checked, "hidden items are in the list"
    moved = np.roll(allowed.check.places, 1)
    check = ListCheck(moved, np.ones_like(allowed.check.passes), allowed.check.keys)
    assert not served.model.recommend(query, AllowedItems(allowed.mask, packed(check))).checked, "rows of other items"


def test_an_item_that_the_catalogue_does_not_know_is_looked_for_by_its_id() -> None:
    catalogue, learning = Catalogue(), Learning()
    served = learning.learn(*range(40))
    catalogue.apply([Change("i1", 1, Item(hidden=True))], 1)
    view = catalogue.view(NO_FILTER, served)
    ranking = served.model.recommend(Query(user="u1", n=20), view.allowed)
    assert not ranking.checked
    assert view.shows_all(ranking.items)
