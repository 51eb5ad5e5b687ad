"""Ready-made mappings, each on records of the shape that its producer documents; the mappings name the pages."""

from __future__ import annotations

from typing import Any

import pytest

from stream.events import Click, Event, Feedback, Purchase
from stream.ingest.mapping.check import check_samples
from stream.ingest.mapping.loading import load_mapping, ready_names
from stream.ingest.mapping.plan import TopicPlan
from tests.stream.ingest.mapping.ready_records import (
    AT,
    cloud_event,
    ga4,
    rocket,
    row,
    segment,
    shopify,
    snowplow,
)


def plan_of(name: str) -> TopicPlan:
    (plan,) = load_mapping(name).topics.values()
    return plan


ORDER = {"product_id": "tea", "sku": "T-1", "quantity": 2, "price": 4.5}

CASES: list[tuple[str, dict[str, Any], list[Event]]] = [
    ("ga4", ga4("view_item", {}), [Feedback(kind="view", item="tea", user="1201.77", timestamp=AT)]),
    ("ga4", ga4("select_item", {}, user_id="ada"), [Click(item="tea", user="ada", timestamp=AT)]),
    (
        "ga4",
        ga4("purchase", {"quantity": "2"}, {"item_id": "cup"}, ecommerce={"transaction_id": "T7"}),
        [
            Purchase(item="tea", user="1201.77", timestamp=AT, event_id="T7#0", quantity="2", price=4.5),
            Purchase(item="cup", user="1201.77", timestamp=AT, event_id="T7#1", price=4.5),
        ],
    ),
    ("ga4", ga4("refund", {}), [Feedback(kind="return", item="tea", user="1201.77", timestamp=AT)]),
    ("ga4", ga4("page_view"), []),
    (
        "segment",
        segment("Product Added", product_id="tea", quantity=1),
        [Feedback(kind="cart", item="tea", user="ada", timestamp="2026-01-01T00:00:00.000Z", event_id="segment-1")],
    ),
    (
        "segment",
        segment("Order Completed", order_id="50314b8e", currency="USD", products=[ORDER, {**ORDER, "product_id": 9}]),
        [
            Purchase(
                item=item,
                user="ada",
                timestamp="2026-01-01T00:00:00.000Z",
                event_id=f"segment-1#{number}",
                quantity=2.0,
                price=4.5,
                currency="USD",
            )
            for number, item in enumerate(["tea", 9])
        ],
    ),
    (
        "segment",
        segment("Product Reviewed", product_id="tea", rating="5"),
        [
            Feedback(
                kind="rating",
                item="tea",
                user="ada",
                timestamp="2026-01-01T00:00:00.000Z",
                event_id="segment-1",
                value="5",
            )
        ],
    ),
    ("segment", segment("Promotion Viewed", promotion_id="p"), []),
    (
        "snowplow",
        snowplow("transaction", {"id": "tea", "quantity": 2}, {"id": "cup"}),
        [
            Purchase(
                item=item,
                user="du-1",
                session="ds-1",
                timestamp="2026-01-01T00:00:00.000Z",
                event_id=f"c6ef3124-b53a-4b13-a233-0088f79dcbcb#{number}",
                quantity=quantity,
                price=4.5,
                currency="EUR",
            )
            for number, (item, quantity) in enumerate([("tea", 2.0), ("cup", None)])
        ],
    ),
    ("snowplow", snowplow("checkout_step"), []),
    ("snowplow", {"event_name": "page_view", "event_id": "e", "domain_userid": "du-1"}, []),
    (
        "shopify",
        shopify({}, {"product_id": None, "product_exists": False}, {"quantity": 3}),
        [
            Purchase(
                item=632910392,
                user=77,
                timestamp="2025-12-31T19:00:00-05:00",
                event_id=f"820982911946154508#{number}",
                quantity=quantity,
                price="199.00",
                currency="USD",
            )
            for number, quantity in ((0, 1.0), (2, 3.0))
        ],
    ),
    (
        "shopify",
        shopify({}, customer=None),
        [
            Purchase(
                item=632910392,
                user="token-1",
                timestamp="2025-12-31T19:00:00-05:00",
                event_id="820982911946154508#0",
                quantity=1.0,
                price="199.00",
                currency="USD",
            )
        ],
    ),
    ("debezium", row("c"), [Click(item=42, user=7, timestamp=1_767_225_600_000_000, event_id=9)]),
    (
        "debezium",
        {"schema": {"type": "struct"}, "payload": row("r")},
        [Click(item=42, user=7, timestamp=1_767_225_600_000_000, event_id=9)],
    ),
    ("debezium", row("u"), []),
    ("debezium", row("d"), []),
    (
        "cloudevents",
        cloud_event("purchased", quantity=2, session="s", price=1, currency="EUR"),
        [
            Purchase(
                item="tea",
                user="ada",
                timestamp="2026-01-01T00:00:00Z",
                event_id="A234-1234-1234",
                quantity=2.0,
                session="s",
                price=1.0,
                currency="EUR",
            )
        ],
    ),
    ("cloudevents", cloud_event("deleted"), []),
    ("retailrocket", rocket("addtocart"), [Feedback(kind="cart", item="355908", user="257597", timestamp=AT)]),
    ("retailrocket", rocket("transaction"), [Purchase(item="355908", user="257597", timestamp=AT)]),
]


@pytest.mark.parametrize(("name", "record", "expected"), CASES)
def test_a_record_of_the_documented_shape_becomes_these_events(
    name: str, record: dict[str, Any], expected: list[Event]
) -> None:
    mapped = plan_of(name).read_fields(record)
    assert [_fields(event) for event in mapped.events] == [_fields(event) for event in expected]
    assert mapped.left_out == ("" if expected else "unmapped")


def _fields(event: Event) -> tuple[str, dict[str, Any]]:
    """Kind of Struct, and the fields of an event: mapped events are instances of types of their own."""
    return type(event).__name__, {name: getattr(event, name) for name in sorted(event.__struct_fields__)}


def test_every_ready_made_mapping_has_a_record_that_becomes_events_and_reads_no_path_that_its_records_lack() -> None:
    assert {name for name, _, events in CASES if events} == set(ready_names())
    for name in ready_names():
        records = [record for each, record, _ in CASES if each == name]
        report = check_samples(plan_of(name), records, name)
        unknown = [each for each in report.problems if "network_userid" not in each]
        assert unknown == []


def test_every_ready_made_mapping_names_the_page_that_documents_its_records() -> None:
    from stream.ingest.mapping.loading import mapping_text

    for name in ready_names():
        assert "# https://" in mapping_text(name)[0]
        assert load_mapping(name).document.description
