"""Mappings: which are refused and in which line, and what the paths, kinds and conditions of a good one read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.events import decoder
from stream.ingest.mapping.plan import TopicPlan, WrongMapping, plan_of
from stream.values import InvalidEvent

FLAT = """
topics:
  clicks:
    fields: {item: product_id, user: customer, timestamp: at, event_id: id}
"""


def clicks(text: str) -> TopicPlan:
    return plan_of(text, "shop.yaml").topics["clicks"]


def rules(*rules: str, otherwise: str = "dead_letter") -> TopicPlan:
    listed = "".join(f"      - {rule}\n" for rule in rules)
    return clicks(f"topics:\n  clicks:\n    otherwise: {otherwise}\n    rules:\n{listed}")


def read(plan: TopicPlan, record: Any) -> list[dict[str, Any]]:
    value = record if isinstance(record, bytes) else json.dumps(record).encode()
    events = plan.read(value).events
    return [
        {name: found for name in event.__struct_fields__ if (found := getattr(event, name)) is not None}
        for event in events
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("topics:\n  clicks: [", "line 2: not YAML"),
        ("topics:\n  clicsk: {}", "line 2: there is no topic 'clicsk'. Did you mean 'clicks'?"),
        (
            "topics:\n  clicks:\n    feilds: {}",
            "line 3: topics.clicks.feilds: there is nothing of this name here. Did you",
        ),
        ("topics:\n  clicks:\n    fields:\n      itm: sku", "line 4: no event has a field 'itm'. Did you mean 'item'?"),
        (
            "topics:\n  clicks:\n    fields:\n      item: sku\n      user: id\n      item: id",
            "line 6: 'item' has two sources",
        ),
        ("topics:\n  clicks:\n    fields:\n      item: a..b\n      user: id", "line 4: 'a..b' is no path"),
        ("topics:\n  clicks:\n    fields:\n      item: a[].b[].c\n      user: id", "line 4: 'a[].b[].c' has [] twice"),
        (
            "topics:\n  clicks:\n    fields:\n      item: 7\n      user: id",
            "line 4: topics.clicks.fields.item: expected text",
        ),
        ("topics:\n  clicks:\n    fields: {item: sku}", "no source for user or session"),
        ("topics:\n  clicks:\n    fields: {user: sku}", "no source for item"),
        (
            "topics:\n  clicks:\n    fields:\n      item: a[].x\n      user: id\n      context: b[].y",
            "line 6: context is read from b[], and item from a[]; a rule cuts a record along one list",
        ),
        (
            "topics:\n  clicks:\n    kind: purchase\n    fields:\n      item: sku\n      user: id\n      price: a[].y",
            "line 5: item is not read from a[] as price is",
        ),
        ("topics:\n  feedback:\n    fields: {item: sku, user: id}", "no kind; a rule of feedback names one"),
        (
            (
                "topics:\n  clicks:\n    rules:\n      - fields:\n          item: sku\n          user: id\n"
                "          price: p"
            ),
            "line 7: events of the kind click have no 'price'",
        ),
        (
            "topics:\n  clicks:\n    fields: {item: sku, user: id}\n    rules:\n      - {}\n      - {kind: view}",
            "line 5: rule 1 of clicks fits every record",
        ),
        (
            "topics:\n  clicks:\n    fields:\n      item: {path: a, value: b}\n      user: id",
            "line 4: item needs either",
        ),
        (
            "topics:\n  clicks:\n    fields:\n      item: sku\n      user: {path: a, unit: ms}",
            "line 5: user: a unit belongs",
        ),
        (
            "topics:\n  clicks:\n    fields:\n      item: sku\n      user: id\n      timestamp: {path: a, unit: min}",
            "line 6: topics.clicks.fields.timestamp.unit: Invalid enum value 'min'; s, ms, us or ns",
        ),
        (
            "topics:\n  clicks:\n    fields: {item: sku, user: id}\n    rules:\n      - when:\n          a: {}",
            "line 6: name either is_not or present",
        ),
        (
            "topics:\n  clicks:\n    fields: &all {item: sku, user: id}",
            "line 3: anchors (&) and aliases (*) are not read",
        ),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_line_and_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(WrongMapping) as refused:
        plan_of(text, "shop.yaml")
    assert message in str(refused.value)
    assert str(refused.value).startswith("shop.yaml")


def test_words_of_yaml_1_1_are_words() -> None:
    plan = rules("{when: {country: no}, fields: {item: sku, user: id}}")
    assert read(plan, {"country": "no", "sku": "a", "id": 1}) == [{"item": "a", "user": 1}]


def test_a_path_reaches_into_objects_lists_and_names_with_dots() -> None:
    plan = clicks(
        """
topics:
  clicks:
    fields:
      item: '"product.id"'
      user: params[key=user].value
      session: visits[1].id
      timestamp: {path: meta.at, unit: ms}
"""
    )
    record = {
        "product.id": "tea",
        "params": [{"key": "page", "value": 1}, {"key": "user", "value": "ada"}],
        "visits": [{"id": "x"}, {"id": "y"}],
        "meta": {"at": 1500},
    }
    assert read(plan, record) == [{"item": "tea", "user": "ada", "session": "y", "timestamp": 1.5}]


@pytest.mark.parametrize(
    ("unit", "written", "seconds"),
    [("s", 5, 5), ("ms", 5000, 5), ("us", "5000000", 5), ("ns", 5e9, 5), ("ms", "2026-01-01", "2026-01-01")],
)
def test_a_time_has_the_unit_that_the_mapping_names(unit: str, written: Any, seconds: Any) -> None:
    plan = clicks(f"topics: {{clicks: {{fields: {{item: i, user: u, timestamp: {{path: t, unit: {unit}}}}}}}}}")
    assert read(plan, {"i": 1, "u": 2, "t": written})[0]["timestamp"] == seconds


def test_the_first_of_several_paths_that_has_a_value_counts() -> None:
    plan = clicks("topics: {clicks: {fields: {item: i, user: [a.id, b, c]}}}")
    assert [
        read(plan, {"i": 1, **more})[0]["user"] for more in ({"a": {"id": 5}, "b": 6}, {"a": None, "b": "", "c": 7})
    ] == [
        5,
        7,
    ]


@pytest.mark.parametrize(
    ("condition", "values", "fits"),
    [
        ("{a: x}", ["x", "y", None, ["x"]], [True, False, False, False]),
        ("{a: [x, 1]}", ["x", 1, "1", True], [True, True, False, False]),
        ("{a: true}", [True, 1, "true"], [True, False, False]),
        ("{a: {is_not: [x]}}", ["x", "y", None], [False, True, True]),
        ("{a: {present: true}}", ["x", 0, None], [True, True, False]),
        ("{a: {present: false}}", ["x", None], [False, True]),
    ],
)
def test_a_rule_fits_the_records_for_which_its_condition_holds(
    condition: str, values: list[Any], fits: list[bool]
) -> None:
    plan = rules(f"{{when: {condition}, fields: {{item: i, user: u}}}}", otherwise="leave_out")
    assert [bool(read(plan, {"i": 1, "u": 2, "a": value})) for value in values] == fits


def test_the_first_rule_that_fits_counts_and_a_value_without_a_kind_goes_on_to_the_next() -> None:
    plan = rules(
        "{kind: {path: name, values: {buy: purchase, '7': view}}, fields: {item: i, user: u}}",
        "{when: {name: buy}, kind: like, fields: {item: i, user: u}}",
        "{when: {name: other}, kind: cart, fields: {item: i, user: u}}",
    )
    kinds = [
        type(plan.read(json.dumps({"i": 1, "u": 2, "name": name}).encode()).events[0]).__name__
        for name in ("buy", 7, "other")
    ]
    assert kinds == ["Purchase", "Feedback", "Feedback"]
    assert read(plan, {"i": 1, "u": 2, "name": 7})[0]["kind"] == "view"
    assert read(plan, {"i": 1, "u": 2, "name": "other"})[0]["kind"] == "cart"
    with pytest.raises(InvalidEvent, match="no rule of clicks fits the record; add a rule, or `otherwise: leave_out`"):
        read(plan, {"i": 1, "u": 2, "name": "none"})


def test_elements_of_different_kinds_are_different_events_and_those_of_none_are_left_out() -> None:
    text = (
        "{kind: {path: 'lines[].type', values: {sale: purchase, back: return}}, fields: {item: 'lines[].sku', user: u}}"
    )
    record = {
        "u": 1,
        "lines": [{"type": "sale", "sku": "a"}, {"type": "tip", "sku": "b"}, {"type": "back", "sku": "c"}],
    }
    mapped = rules(text, otherwise="leave_out").read(json.dumps(record).encode())
    assert [(type(event).__name__, event.item) for event in mapped.events] == [("Purchase", "a"), ("Feedback", "c")]
    assert mapped.unmapped == 1
    with pytest.raises(InvalidEvent, match=r"no kind is named for the value at lines\[1\].type"):
        rules(text).read(json.dumps(record).encode())


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"name": "order", "id": 1}, "mapping: lines[]: nothing there"),
        ({"name": "order", "id": 1, "lines": {"sku": 1}}, "mapping: lines[]: dict instead of a list"),
        (
            {"name": "order", "id": 1, "lines": [{"sku": 1}] * 1001},
            "1001 elements; a record becomes at most 1000 events",
        ),
        (
            {"name": "order", "id": 1, "lines": [{"sku": True}]},
            "item: Expected `int | str`, got `bool` at lines[0].sku",
        ),
        ({"name": "view", "id": "x"}, "item: nothing at sku (rule 2 of the mapping, line 6)"),
    ],
)
def test_a_reason_names_the_field_the_path_and_the_rule(record: dict[str, Any], reason: str) -> None:
    plan = rules(
        "{when: {name: order}, kind: purchase, fields: {item: 'lines[].sku', user: id}}",
        "{fields: {item: sku, user: id}}",
    )
    with pytest.raises(InvalidEvent) as refused:
        read(plan, record)
    assert reason in str(refused.value)


def test_an_event_in_our_own_form_is_taken_on_any_mapped_topic() -> None:
    plan = clicks(FLAT)
    own = {"corrente": {"event": {"item": "tea", "user": "ada", "kind": "purchase", "price": 5}}}
    assert read(plan, own) == [{"item": "tea", "user": "ada", "price": 5.0}]
    assert read(plan, {"product_id": 1, "customer": 2, "corrente": {"event_id": "x", "timestamp": 9}}) == [
        {"item": 1, "user": 2, "event_id": "x", "timestamp": 9.0}
    ]


IDS = st.one_of(
    st.text(max_size=5), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["product_id", "customer", "at", "id", "page"]), IDS))
def test_a_flat_mapping_reads_what_renamed_fields_read_at_once_one_by_one_and_from_rows(record: dict[str, Any]) -> None:
    plan, value = clicks(FLAT), json.dumps(record).encode()
    renamed = decoder("clicks", {"item": "product_id", "user": "customer", "timestamp": "at", "event_id": "id"})
    others = {name: record.pop(name) for name in ("session", "answer", "position", "context") if name in record}
    assert not others
    try:
        expected = renamed.decode(value)
    except msgspec.ValidationError:
        expected = None
    at_once = plan.read_flat([value])
    try:
        one = plan.read(value).events[0]
        assert plan.read_fields(record).events[0] == one
    except InvalidEvent:
        one = None
    for found in (one, at_once[0] if at_once else None):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            fields = expected.__struct_fields__
            for name in fields:
                assert getattr(found, name) == getattr(expected, name)


DIRECT = """
topics:
  clicks: {fields: {item: sku, user: who, timestamp: at, event_id: id, bot: {value: 1}}}
  purchases: {fields: {item: sku, session: who, price: paid, currency: {value: CHF}}}
  feedback: {kind: view, fields: {item: sku, user: who, value: {value: "3"}}}
"""
DIRECT_PLANS = plan_of(DIRECT, "shop.yaml").topics

OWN_FORM = st.one_of(st.none(), st.just({}), st.just({"event_id": "x"}), st.just({"event": {"item": "a", "user": "b"}}))
VALUES = st.one_of(IDS, st.lists(st.none(), max_size=2), st.just({}), st.just(2**70), st.just("2026-01-31T00:00:00Z"))
NAMES = st.sampled_from(["sku", "who", "at", "id", "paid", "quantity", "item", "kind", "corrente: not kind"])


@settings(max_examples=500)
@given(st.sampled_from(sorted(DIRECT_PLANS)), st.dictionaries(NAMES, VALUES), OWN_FORM)
def test_a_record_that_is_decoded_without_a_tree_is_the_event_that_its_tree_gives(
    topic: str, record: dict[str, Any], own: Any
) -> None:
    plan = DIRECT_PLANS[topic]
    value = json.dumps({**record, "corrente": own} if own is not None else record).encode()
    assert plan.decode_directly is not None
    try:
        found = plan.decode_directly(value)
    except msgspec.ValidationError:
        assert plan.read_flat([value]) is None
        return
    expected = plan.read(value).events[0]
    assert {name: getattr(found, name) for name in expected.__struct_fields__} == msgspec.structs.asdict(expected)
    for name in expected.__struct_fields__:
        assert type(getattr(found, name)) is type(getattr(expected, name)), name


def test_most_records_are_decoded_without_a_tree() -> None:
    for topic, plan in DIRECT_PLANS.items():
        assert plan.read_flat([b'{"sku": "tea", "who": 7, "page": {"a": [1]}}']) is not None, topic


@pytest.mark.parametrize(
    "fields",
    [
        "{item: product.sku, user: who}",
        "{item: sku, user: sku}",
        "{item: [sku, ean], user: who}",
        "{item: sku, user: who, timestamp: {path: at, unit: ms}}",
        "{item: sku, user: who, bot: {value: true}}",
        "{item: sku, user: corrente}",
        "{item: 'lines[].sku', user: who}",
    ],
)
def test_a_rule_that_does_more_than_give_names_needs_a_tree(fields: str) -> None:
    assert clicks(f"topics: {{clicks: {{fields: {fields}}}}}").decode_directly is None


def test_a_name_that_the_decoder_of_json_does_not_find_is_refused_with_its_line() -> None:
    with pytest.raises(WrongMapping, match=r"line 4: .* has a backslash or a control character"):
        clicks("topics:\n  clicks:\n    fields:\n      item: 'a\\b'\n      user: u")
