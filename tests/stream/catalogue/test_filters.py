"""A filter lets through what plain Python finds by looking at each document, whatever the order of changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.catalogue import matching
from stream.catalogue.columns import Change
from stream.catalogue.filters import NO_FILTER, Filter, LabelCondition, WrongFilter, check
from stream.catalogue.item import Item
from stream.catalogue.snapshot import KEPT_HIDING, Catalogue

ITEMS = [f"item {number}" for number in range(12)]
TEXTS = ["a", "b", "c"]
PATHS = ["a", "a/b", "a/b/c", "b", "b/a", " a / b "]
VALUES = [True, False, 1, 2.5, -3, "1", "x"]

items = st.builds(
    Item,
    brand=st.none() | st.sampled_from(TEXTS),
    categories=st.lists(st.sampled_from(PATHS), max_size=6),
    tags=st.lists(st.sampled_from(TEXTS), max_size=6),
    price=st.none() | st.integers(0, 5).map(float),
    currency=st.sampled_from([None, "CHF", "EUR"]),
    available=st.sampled_from([True, True, False]),
    hidden=st.sampled_from([False, False, True]),
    published_at=st.none() | st.integers(1, 5),
    labels=st.dictionaries(st.sampled_from(["size", "colour"]), st.sampled_from(VALUES)),
)
some = st.lists(st.sampled_from(TEXTS), max_size=2).map(tuple)
some_paths = st.lists(st.sampled_from(PATHS), max_size=2).map(tuple)
bound = st.none() | st.integers(0, 5).map(float)
conditions = st.builds(
    LabelCondition,
    field=st.sampled_from(["size", "colour", "unknown"]),
    op=st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "exists"]),
    value=st.sampled_from(VALUES) | st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
)


def sensible(wanted: Filter) -> bool:
    try:
        check(wanted)
    except WrongFilter:
        return False
    return True


filters = st.builds(
    Filter,
    categories=some_paths,
    categories_all=some_paths,
    categories_none=some_paths,
    tags=some,
    tags_all=some,
    tags_none=some,
    brands=some,
    brands_none=some,
    price_min=bound,
    price_max=bound,
    currency=st.sampled_from([None, "CHF"]),
    available=st.sampled_from([None, True]),
    published_after=bound,
    labels=st.lists(conditions, max_size=1).map(tuple),
    hidden_brands=some,
    hidden_categories=some_paths,
).filter(sensible)
hiding = st.builds(Filter, tags=some, hidden_brands=some, hidden_categories=some_paths)


def plain(path: str) -> list[str]:
    return [step.strip() for step in path.split("/")]


def below(path: str, category: str) -> bool:
    steps = plain(category)
    return plain(path)[: len(steps)] == steps


def same(one, other) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def holds(condition: LabelCondition, labels: dict) -> bool:
    there, label = condition.field in labels, labels.get(condition.field)
    values = condition.value if isinstance(condition.value, list) else [condition.value]
    equal = there and any(same(label, value) for value in values)
    number = there and isinstance(label, int | float) and not isinstance(label, bool)
    match condition.op:
        case "eq" | "in":
            return equal
        case "ne" | "not_in":
            return not equal
        case "exists":
            return there == condition.value
        case "lt":
            return number and label < values[0]
        case "le":
            return number and label <= values[0]
        case "gt":
            return number and label > values[0]
    return number and label >= values[0]


def passes(item: Item, wanted: Filter) -> bool:
    """The filter as its documentation says it, in plain Python."""
    within = {name: any(below(path, name) for path in item.categories) for name in PATHS}
    price = item.price
    return (
        item.available
        and not item.hidden
        and (not wanted.categories or any(within[each] for each in wanted.categories))
        and all(within[each] for each in wanted.categories_all)
        and not any(within[each] for each in wanted.categories_none)
        and (not wanted.tags or any(each in item.tags for each in wanted.tags))
        and all(each in item.tags for each in wanted.tags_all)
        and not any(each in item.tags for each in wanted.tags_none)
        and (not wanted.brands or item.brand in wanted.brands)
        and item.brand not in wanted.brands_none
        and (wanted.price_min is None or (price is not None and price >= wanted.price_min))
        and (wanted.price_max is None or (price is not None and price <= wanted.price_max))
        and (wanted.currency is None or item.currency == wanted.currency)
        and (wanted.published_after is None or (item.published_at or -1) >= wanted.published_after)
        and all(holds(condition, item.labels) for condition in wanted.labels)
        and item.brand not in wanted.hidden_brands
        and not any(within[each] for each in wanted.hidden_categories)
    )


@dataclass
class Mirror:
    """A catalogue and, beside it, a dictionary of the same documents."""

    catalogue: Catalogue = field(default_factory=Catalogue)
    documents: dict[str, Item] = field(default_factory=dict)
    revision: int = 0

    def put(self, written: dict[str, Item | None]) -> None:
        changes = []
        for item, document in written.items():
            self.revision += 1
            changes.append(Change(item, self.revision, document))
            self.documents.pop(item, None)
            if document is not None:
                self.documents[item] = document
        self.catalogue.apply(changes, self.revision)

    def shown(self, wanted: Filter) -> set[str]:
        view = self.catalogue.view(wanted, None)
        assert view.revision == self.revision
        return {item for item in ITEMS if item in self.documents and view.shows(item)}


some_changes = st.dictionaries(st.sampled_from(ITEMS), st.none() | items, min_size=1)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.lists(some_changes, min_size=1, max_size=3), filters)
def test_a_filter_lets_through_what_plain_python_finds(changes: list, wanted: Filter) -> None:
    mirror = Mirror()
    for change in changes:  # the filter is in use before most changes, so its result is renewed and not made anew
        mirror.put(change)
        expected = {item for item, document in mirror.documents.items() if passes(document, wanted)}
        assert mirror.shown(wanted) == expected
        assert mirror.catalogue.current.items == len(mirror.documents)


@pytest.mark.parametrize("most_changed", [0, 3, 1000])
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(some_changes, st.lists(hiding, max_size=3)), min_size=1, max_size=5))
def test_what_visitors_hide_is_found_however_the_rows_were_ordered(
    monkeypatch: pytest.MonkeyPatch, most_changed: int, steps: list
) -> None:
    monkeypatch.setattr(matching, "MOST_CHANGED", most_changed)
    mirror = Mirror()
    for change, wishes in steps:
        mirror.put(change)
        for wanted in wishes:
            expected = {item for item, document in mirror.documents.items() if passes(document, wanted)}
            assert mirror.shown(wanted) == expected
            mirror.catalogue.order_rows()


def test_filters_that_many_share_outlive_those_of_visitors_who_hide_something() -> None:
    catalogue = Catalogue()
    catalogue.apply([Change(item, 1, Item(brand=item, tags=["a"])) for item in ITEMS], 1)
    shared = Filter(tags=("a",))
    kept = catalogue.view(shared, None).result
    for number in range(200):
        catalogue.view(Filter(hidden_brands=(f"brand {number}",)), None)
    assert catalogue.view(shared, None).result is kept
    assert len(catalogue.current.results) == 1 + KEPT_HIDING


def test_an_item_that_the_catalogue_does_not_know_passes_the_empty_filter_alone() -> None:
    catalogue = Catalogue()
    catalogue.apply([Change("cup", 1, Item())], 1)
    assert catalogue.view(NO_FILTER, None).shows("unknown")
    assert not catalogue.view(Filter(tags_none=("a",)), None).shows("unknown")
    assert catalogue.view(Filter(tags_none=("a",)), None).shows("cup")


def test_a_document_that_arrives_late_changes_nothing() -> None:
    catalogue = Catalogue()
    catalogue.apply([Change("cup", 2, Item(hidden=True))], 2)
    catalogue.apply([Change("cup", 1, Item())], 2)
    assert not catalogue.view(NO_FILTER, None).shows("cup")


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (Filter(available=False), "available"),
        (Filter(price_min=2, price_max=1), "price_max"),
        (Filter(categories_all=("a",), categories_none=("a",)), "categories_none"),
        (Filter(categories_all=("a/b",), categories_none=(" a ",)), "categories_none"),
        (Filter(categories=("a/b", "c"), categories_none=("a", "c")), "categories_none"),
        (Filter(tags=("a",), tags_none=("a", "b")), "tags_none"),
        (Filter(brands=("a",), brands_none=("a",)), "brands_none"),
        (Filter(labels=(LabelCondition("size", "lt", "x"),)), "labels.size"),
        (Filter(labels=(LabelCondition("size", "in", 1),)), "labels.size"),
        (Filter(labels=(LabelCondition("size", "eq", [1]),)), "labels.size"),
        (Filter(labels=(LabelCondition("size", "exists", 1),)), "labels.size"),
        (Filter(labels=(LabelCondition("size", "ge", 10**400),)), "labels.size"),
        (Filter(labels=(LabelCondition("size", "in", [1, 10**400]),)), "labels.size"),
        (Filter(categories=("/",)), "categories"),
    ],
)
def test_a_filter_that_contradicts_itself_is_refused(wanted: Filter, part: str) -> None:
    with pytest.raises(WrongFilter) as caught:
        check(wanted)
    assert caught.value.field == part


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(categories_all=("a",), categories_none=("a/b",)),
        Filter(categories=("a", "b"), categories_none=("a",)),
        Filter(tags=("a", "b"), tags_none=("a",)),
    ],
)
def test_a_filter_that_leaves_something_is_none_that_contradicts_itself(wanted: Filter) -> None:
    check(wanted)


def test_rows_of_deleted_items_are_kept_for_when_they_come_back() -> None:
    mirror = Mirror()
    mirror.put({"cup": Item(tags=["a"])})
    mirror.put({"cup": None})
    assert not mirror.catalogue.view(NO_FILTER, None).shows("cup")
    mirror.put({"cup": Item()})
    assert mirror.catalogue.view(NO_FILTER, None).shows("cup")
    assert mirror.catalogue.current.rows == 1


def test_many_labels_tags_and_items_widen_the_columns() -> None:
    catalogue = Catalogue()
    many = [
        Change(
            f"i{number}",
            number + 1,
            Item(tags=[f"t{tag}" for tag in range(number % 9)], labels={f"l{number % 7}": number}),
        )
        for number in range(1000)
    ]
    catalogue.apply(many, 1000)
    with_tag = catalogue.view(Filter(tags=("t7",)), None)
    assert {number for number in range(1000) if with_tag.shows(f"i{number}")} == set(range(8, 1000, 9))
    with_label = catalogue.view(Filter(labels=(LabelCondition("l3", "ge", 500),)), None)
    assert {number for number in range(1000) if with_label.shows(f"i{number}")} == set(range(3, 1000, 7)) - set(
        range(500)
    )
