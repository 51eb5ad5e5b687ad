"""Requests whose answers the pages show, recorded from a running application.

`tests/serving/web/test_documented_examples.py` sends them to an application on a real Redis and compares the answers
with `serving/web/examples.json`; with the variable `RECORD_EXAMPLES=1` it writes that file instead.

This file decides which requests are sent in which situation, and which parts of an answer may differ from run to run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from serving.web.examples import RECORDED


class Request(NamedTuple):
    """One request.

    Attributes:
        route: method and path as the reference lists them, or "" for an error of no particular route.
        title: one sentence about the example.
        method, path, body: as they are sent; the body is JSON, or text that is sent as it is.
        shown: body as the page shows it, if not as it is sent.
        json: True if the header `Content-Type: application/json` is sent.
    """

    route: str
    title: str
    method: str
    path: str
    body: Any = None
    shown: str | None = None
    json: bool = False


TEAPOT = {"item": "teapot", "user": "ada", "event_id": "click-1"}
EARLIER = "2026-01-01T00:00:00Z"

SITUATIONS: Mapping[str, tuple[Request, ...]] = {
    "two versions are published": (
        Request("POST /v1/events/clicks", "One click", "POST", "/v1/events/clicks", TEAPOT),
        Request(
            "POST /v1/events/clicks",
            "Two clicks of the past",
            "POST",
            "/v1/events/clicks",
            [
                {"item": "teapot", "session": "s-81", "timestamp": EARLIER, "event_id": "click-2"},
                {"item": "cups", "session": "s-81", "timestamp": EARLIER, "event_id": "click-3"},
            ],
        ),
        Request(
            "POST /v1/events/purchases",
            "A purchase that followed from an answer",
            "POST",
            "/v1/events/purchases",
            {"item": "cups", "user": "ada", "quantity": 6, "price": 4.5, "currency": "EUR", "event_id": "order-9"},
        ),
        Request(
            "POST /v1/events/feedback",
            "A rating",
            "POST",
            "/v1/events/feedback",
            {"item": "teapot", "user": "ada", "kind": "rating", "value": 5, "event_id": "rating-4"},
        ),
        Request(
            "GET /v1/recommendations/{user}",
            "Three items for a known user",
            "GET",
            "/v1/recommendations/bob?n=3",
        ),
        Request(
            "GET /v1/recommendations/{user}",
            "An unknown user gets what is popular lately, and `fallback` says so",
            "GET",
            "/v1/recommendations/newcomer?n=2",
        ),
        Request(
            "POST /v1/recommendations",
            "An anonymous visitor who looked at two items",
            "POST",
            "/v1/recommendations",
            {"recent": ["cups", "teapot"], "n": 2},
        ),
        Request(
            "POST /v1/recommendations",
            "Given items, put in order",
            "POST",
            "/v1/recommendations",
            {"user": "bob", "candidates": ["spade", "tea"]},
        ),
        Request("GET /v1/items/{item}/similar", "Items beside a product page", "GET", "/v1/items/teapot/similar?n=2"),
        Request(
            "GET /v1/items/{item}/bought-together",
            "What was bought within a day of an item, then similar items",
            "GET",
            "/v1/items/cups/bought-together?n=2",
        ),
        Request("GET /v1/popular", "The two most popular items", "GET", "/v1/popular?n=2"),
        Request("GET /v1/trending", "The same over the last hours", "GET", "/v1/trending?n=2"),
        Request("GET /v1/new-arrivals", "The two newest items", "GET", "/v1/new-arrivals?n=2"),
        Request(
            "GET /v1/users/{user}/recently-viewed",
            "The items that a user had last, with the times of their last events",
            "GET",
            "/v1/users/bob/recently-viewed?n=2",
        ),
        Request(
            "POST /v1/rerank",
            "Hits of a search in the order of a user; no event of the last one is known",
            "POST",
            "/v1/rerank",
            {"user": "bob", "items": ["spade", "a new lamp", "tea"]},
        ),
        Request(
            "POST /v1/recommendations/batch",
            "Two lists in one call, and an element that is wrong",
            "POST",
            "/v1/recommendations/batch",
            {"requests": [{"user": "bob", "n": 1}, {"basket": ["teapot"], "n": 1}, {"price_min": 30, "price_max": 20}]},
        ),
        Request(
            "GET /v1/recommendations/{user}",
            "The same user without profiling",
            "GET",
            "/v1/recommendations/bob?profiling=off&n=2",
        ),
        Request(
            "GET /v1/recommendations/{user}",
            "The reasons of the first item, with the first two of its features and sources",
            "GET",
            "/v1/recommendations/bob?n=1&explain=true",
        ),
        Request("GET /v1/transparency", "What decides these lists", "GET", "/v1/transparency"),
        Request("GET /v1/transparency/page", "The headings of the page", "GET", "/v1/transparency/page"),
        Request(
            "PUT /v1/items/{item}",
            "An item of the shop",
            "PUT",
            "/v1/items/spade",
            {
                "title": "Garden spade",
                "categories": ["garden/tools"],
                "tags": ["steel"],
                "price": 32,
                "currency": "EUR",
            },
        ),
        Request(
            "PUT /v1/items",
            "Two items at once",
            "PUT",
            "/v1/items",
            [
                {"item": "seeds", "categories": ["garden/plants"], "price": 3, "currency": "EUR"},
                {"item": "gloves", "categories": ["garden/tools"], "labels": {"size": 9}},
            ],
        ),
        Request("PATCH /v1/items/{item}", "Sold out", "PATCH", "/v1/items/gloves", {"available": False}),
        Request("GET /v1/items/{item}", "What the catalogue knows", "GET", "/v1/items/gloves"),
        Request("GET /v1/items", "The first item", "GET", "/v1/items?limit=1"),
        Request("DELETE /v1/items/{item}", "An item that is sold no more", "DELETE", "/v1/items/gloves"),
        Request(
            "PUT /v1/users/{user}",
            "A profile",
            "PUT",
            "/v1/users/ada",
            {"language": "de-CH", "labels": {"trade": True}},
        ),
        Request("PATCH /v1/users/{user}", "One more field", "PATCH", "/v1/users/ada", {"country": "CH"}),
        Request("GET /v1/users/{user}", "The profile", "GET", "/v1/users/ada"),
        Request("GET /v1/users", "The first profile", "GET", "/v1/users?limit=1"),
        Request("DELETE /v1/users/{user}", "A profile that is deleted", "DELETE", "/v1/users/ada"),
        Request("GET /v1/versions", "The newest version", "GET", "/v1/versions?limit=1"),
        Request("GET /v1/versions/{version}", "The newest manifest", "GET", "/v1/versions/latest"),
        Request("GET /v1/versions/{a}/diff/{b}", "From version 1 to the newest", "GET", "/v1/versions/1/diff/latest"),
        Request(
            "POST /v1/versions/{version}/rollback",
            "Back to version 1",
            "POST",
            "/v1/versions/1/rollback",
            {"who": "the shop's operator", "why": "odd lists since the campaign"},
            json=True,
        ),
        Request("DELETE /v1/pin", "The newest version again", "DELETE", "/v1/pin", json=True),
        Request("GET /health/live", "A server that runs", "GET", "/health/live"),
        Request("GET /health/ready", "Everything works", "GET", "/health/ready"),
        Request("GET /metrics", "Some of the lines", "GET", "/metrics"),
        Request("", "A body that is no JSON", "POST", "/v1/events/clicks", '{"item": "teapot", "user": "ada"'),
        Request("", "An address that is no route", "GET", "/v1/recomendations/bob"),
        Request("", "A version that isn't there", "GET", "/v1/popular?version=99"),
        Request("", "Another method than the route takes", "PUT", "/v1/popular"),
        Request("", "A body that is too large", "POST", "/v1/events/clicks", " " * 4_200_000, "@too-many-clicks.json"),
        Request("", "An administrative call without the header of JSON", "POST", "/v1/versions/1/rollback"),
        Request("", "A misspelt parameter", "GET", "/v1/popular?limt=5"),
        Request("", "A parameter beyond its limits", "GET", "/v1/popular?n=5000"),
        Request("", "A filter that contradicts itself", "GET", "/v1/popular?price_min=20&price_max=10"),
        Request("", "A misspelt field of a document", "PUT", "/v1/items/spade", {"availabel": False}),
        Request("", "A document that was changed meanwhile", "PUT", "/v1/items/spade", {"price": 30, "revision": 7}),
        Request("", "An item without a document", "GET", "/v1/items/umbrella"),
        Request(
            "",
            "One wrong event in an array: none is accepted",
            "POST",
            "/v1/events/clicks",
            [{"item": "teapot", "user": "ada"}, {"item": "cups"}],
        ),
    ),
    "the newest version is damaged": (Request("", "A version that can't be read", "GET", "/v1/popular?version=3"),),
    "Kafka is away": (
        Request(
            "",
            "Kafka does not acknowledge: each event has its own status",
            "POST",
            "/v1/events/clicks",
            [TEAPOT, {"item": "cups", "user": "ada", "event_id": "click-5"}],
        ),
    ),
    "Redis is away": (
        Request("", "Redis does not answer", "GET", "/v1/versions"),
        Request("GET /health/ready", "Redis and Kafka are away, and lists are still answered", "GET", "/health/ready"),
    ),
    "an error in the server itself": (Request("", "An unexpected error", "GET", "/v1/popular"),),
}
"""Requests by the situation in which they are sent, in this order."""

VARYING = frozenset(
    {"answer", "version_id", "served_id", "id", "parent", "lineage", "created_at", "since", "at", "digest", "reason"}
)
"""Names of text and numbers that differ from run to run; of those only the kind is compared."""

HEADERS = ("content-type", "retry-after")
"""Headers that an example shows, beside those that every HTTP answer has."""

LONGEST_LIST = 3
"""Differences of metrics that an example shows in full."""

REASONS = frozenset({"features", "sources"})
"""Lists of reasons, of which an example shows two entries."""


def shortened(value: Any, name: str = "") -> Any:
    """An answer without the repetitions of a long manifest, and with one address of Redis and of Kafka."""
    match value:
        case dict():
            kept = list(value.items())
            if name == "sources" or "transition" in value:  # an entry for each source
                kept = [*kept[:1], ("…", "…")]
            if name == "tables":
                kept = [*kept[:3], ("…", "…")]
            return {key: shortened(inner, key) for key, inner in kept}
        case list() if name in REASONS:
            return [shortened(inner) for inner in value[:2]]
        case list() if len(value) > LONGEST_LIST and name in {"metrics", "drift"}:
            return [*(shortened(inner) for inner in value[:2]), "…"]
        case list():
            return [shortened(inner) for inner in value]
        case str():
            text = re.sub(r"(broker of )127\.0\.0\.1:\d+", r"\1kafka:9092", value)
            return re.sub(r"127\.0\.0\.1:\d+", "redis:6379", text)
        case _:
            return value


def shape(value: Any, name: str = "", *, failed: bool = False) -> Any:
    """An answer with numbers and varying text replaced by the name of their kind.

    Args:
        value: of the answer.
        name: under which the value stands.
        failed: True for an answer whose text has words of other programs in it: their errors, and lists without order.
    """
    match value:
        case dict():
            return {key: shape(inner, key, failed=failed) for key, inner in value.items()}
        case list():
            return [shape(inner, name, failed=failed) for inner in value]
        case bool() | None:
            return value
        case float():
            return "number"
        case str() | int() if name in VARYING or (failed and name == "detail"):
            return type(value).__name__
        case _:
            return value


def recorded() -> list[dict[str, Any]]:
    """Every example as it was recorded: the request's fields, `status`, `headers` and `answer`."""
    found: list[dict[str, Any]] = json.loads(RECORDED.read_text())
    return found
