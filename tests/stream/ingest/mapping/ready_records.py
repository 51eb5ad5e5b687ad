"""Records of the shapes that the producers of the ready-made mappings document; the mappings name the pages."""

from __future__ import annotations

from typing import Any

AT = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""


def ga4(event_name: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "event_date": "20260101",
        "event_timestamp": "1767225600000000",  # the export to JSON writes 64-bit numbers as text
        "event_name": event_name,
        "event_params": [{"key": "ga_session_id", "value": {"int_value": "1767225590"}}],
        "user_id": None,
        "user_pseudo_id": "1201.77",
        "device": {"category": "mobile"},
        "items": [{"item_id": "tea", "item_name": "Tea", "quantity": None, "price": 4.5, **each} for each in items],
        **more,
    }


def segment(event: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": event,
        "messageId": "segment-1",
        "anonymousId": "anon-1",
        "userId": "ada",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "context": {"library": {"name": "analytics.js"}},
        "properties": properties,
    }


ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
PRODUCTS = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"


def snowplow(action: str, *products: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "app_id": "shop",
        "event": "unstruct",
        "event_name": "snowplow_ecommerce_action",
        "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
        "collector_tstamp": "2026-01-01T00:00:01.000Z",
        "derived_tstamp": "2026-01-01T00:00:00.000Z",
        "user_id": None,
        "domain_userid": "du-1",
        "domain_sessionid": "ds-1",
        ACTION: {"type": action},
        PRODUCTS: [{"category": "Tea", "currency": "EUR", "price": 4.5, **each} for each in products],
        **more,
    }


def shopify(*lines: dict[str, Any], customer: int | None = 77) -> dict[str, Any]:
    return {
        "id": 820982911946154508,
        "checkout_token": "token-1",
        "created_at": "2025-12-31T19:00:00-05:00",
        "currency": "USD",
        "customer": {"id": customer, "first_name": "Ada"} if customer else None,
        "line_items": [
            {
                "id": 1,
                "product_id": 632910392,
                "variant_id": 5,
                "quantity": 1,
                "price": "199.00",
                "product_exists": True,
            }
            | each
            for each in lines
        ],
    }


def row(op: str, **more: Any) -> dict[str, Any]:
    after = {"id": 9, "user_id": 7, "item_id": 42, "created_at": 1_767_225_600_000_000}
    return {
        "before": None,
        "after": after if op != "d" else None,
        "source": {"connector": "mysql", "db": "shop", "table": "views"},
        "op": op,
        "ts_ms": 1_767_225_601_000,
        **more,
    }


def cloud_event(kind: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": f"com.example.item.{kind}",
        "source": "/shop",
        "id": "A234-1234-1234",
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {"item": "tea", "user": "ada", **data},
    }


def rocket(event: str) -> dict[str, Any]:
    return {
        "timestamp": "1767225600000",
        "visitorid": "257597",
        "event": event,
        "itemid": "355908",
        "transactionid": "",
    }
