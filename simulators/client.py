"""A running Corrente over HTTP, as a shop's own program would use it: post events, request lists.

This file decides the few calls that simulators make, synchronous and one at a time. Every answer that is no success
raises.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import httpx

TOPIC_OF_KIND = {"click": "clicks", "purchase": "purchases"}
"""The topic that an event of a kind is posted to; every other kind is feedback."""


class ItemList(NamedTuple):
    """A list as it was answered: items best first, their scores, and the version that made it."""

    items: list[str]
    scores: list[float]
    version: int | None
    fallback: str | None


class Client:
    """One connection to a server, closed at the end of its `with` block.

    Every method raises `httpx.HTTPError` if there is no answer, or one that is no success.

    Args:
        address: URL of the server, such as `http://127.0.0.1:8080`.
        key: of the HTTP API; empty for a server that needs none.
        timeout_seconds: longest wait for an answer.
    """

    def __init__(self, address: str, *, key: str = "", timeout_seconds: float = 30.0) -> None:
        # Not through a proxy of the environment: it knows nothing of loopback, and a SOCKS one needs another package.
        self._http = httpx.Client(
            base_url=address,
            headers=key_header(key),
            timeout=timeout_seconds,
            trust_env=False,
            verify=authorities(address),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def check_alive(self) -> None:
        """Raise unless the server answers."""
        self._http.get("/health/live").raise_for_status()

    def post(self, topic: str, events: list[dict[str, Any]]) -> int:
        """Post events to a topic; the number of accepted ones, which is all of them."""
        return int(self._json("POST", f"/v1/events/{topic}", events)["accepted"])

    def recommend(self, *, user: str | None, session: str | None = None, n: int = 10) -> ItemList:
        query = {name: value for name, value in (("user", user), ("session", session)) if value is not None}
        return _to_item_list(self._json("POST", "/v1/recommendations", {**query, "n": n}))

    def popular(self, n: int = 10) -> ItemList:
        return _to_item_list(self._json("GET", f"/v1/popular?n={n}"))

    def version(self, name: str | int) -> dict[str, Any] | None:
        """The manifest of a version by its number or alias, or None if there is no such version."""
        answer = self._http.get(f"/v1/versions/{quote(str(name), safe='')}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return dict(answer.raise_for_status().json())

    def roll_back(self, version: int, why: str) -> None:
        self._json("POST", f"/v1/versions/{version}/rollback", {"who": "demo", "why": why})

    def follow_newest(self) -> None:
        self._json("DELETE", "/v1/pin", {"who": "demo"})

    def _json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body) if body is not None else self._http.request(method, path)
        return dict(answer.raise_for_status().json())


def authorities(address: str) -> ssl.SSLContext:
    """Authorities that vouch for a server: those of the environment, and none for an address without TLS.

    Their certificates take 17 ms to read, which is long for a program that asks until a server has started.
    """
    if address.lower().startswith("https:"):
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def key_header(key: str) -> dict[str, str]:
    """Header that brings a key; none for an empty one.

    >>> key_header("corrente_5f"), key_header("")
    ({'authorization': 'Bearer corrente_5f'}, {})
    """
    return {"authorization": f"Bearer {key}"} if key else {}


def by_topic(events: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group events that have a `kind` by their topic. Clicks and purchases lose the kind, which their topic implies.

    >>> by_topic([{"item": "a", "user": "u", "kind": "click"}, {"item": "a", "user": "u", "kind": "return"}])
    {'clicks': [{'item': 'a', 'user': 'u'}], 'feedback': [{'item': 'a', 'user': 'u', 'kind': 'return'}]}
    """
    grouped: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        topic = TOPIC_OF_KIND.get(event["kind"], "feedback")
        kept = {name: value for name, value in event.items() if topic == "feedback" or name != "kind"}
        grouped.setdefault(topic, []).append(kept)
    return grouped


def _to_item_list(answer: Mapping[str, Any]) -> ItemList:
    items = answer["items"]
    return ItemList(
        [each["item"] for each in items], [each["score"] for each in items], answer["version"], answer["fallback"]
    )
