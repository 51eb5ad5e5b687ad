"""A running Corrente over HTTP, as a shop's own program would use it: post what happened, ask what to show.

Only the calls that the simulators need, synchronous and one at a time. Whatever is not a success raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import httpx

TOPIC_OF_KIND = {"click": "clicks", "purchase": "purchases"}
"""Where an event of a kind is posted; every other kind is feedback."""


class Listed(NamedTuple):
    """A list as it was answered: items best first with their scores, and the version that made it."""

    items: list[str]
    scores: list[float]
    version: int | None
    fallback: str | None


class Client:
    """Holds one connection. Use it in a `with`, or call `close`.

    Raises (every method): `httpx.HTTPError`: no answer, or one that is no success.
    """

    def __init__(self, address: str, *, timeout_seconds: float = 30.0) -> None:
        self._http = httpx.Client(base_url=address, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def look(self) -> None:
        """Raises unless the server is there."""
        self._http.get("/health/live").raise_for_status()

    def post(self, topic: str, events: list[dict[str, Any]]) -> int:
        """How many were accepted: all of them."""
        return int(self._json("POST", f"/v1/events/{topic}", events)["accepted"])

    def recommend(self, *, user: str | None, session: str | None = None, n: int = 10) -> Listed:
        asked = {name: value for name, value in (("user", user), ("session", session)) if value is not None}
        return _listed(self._json("POST", "/v1/recommendations", {**asked, "n": n}))

    def popular(self, n: int = 10) -> Listed:
        return _listed(self._json("GET", f"/v1/popular?n={n}"))

    def version(self, name: str | int) -> dict[str, Any] | None:
        """The manifest of a version; none while there is no such one."""
        answer = self._http.get(f"/v1/versions/{quote(str(name), safe='')}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return dict(answer.raise_for_status().json())

    def roll_back(self, version: int, why: str) -> None:
        self._json("POST", f"/v1/versions/{version}/rollback", {"who": "demo", "why": why})

    def follow_newest(self) -> None:
        self._json("DELETE", "/v1/pin")

    def _json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body) if body is not None else self._http.request(method, path)
        return dict(answer.raise_for_status().json())


def by_topic(events: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Events that have a `kind`, by the topic each belongs to; clicks and purchases need no kind there.

    >>> by_topic([{"item": "a", "user": "u", "kind": "click"}, {"item": "a", "user": "u", "kind": "return"}])
    {'clicks': [{'item': 'a', 'user': 'u'}], 'feedback': [{'item': 'a', 'user': 'u', 'kind': 'return'}]}
    """
    sorted_out: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        topic = TOPIC_OF_KIND.get(event["kind"], "feedback")
        kept = {name: value for name, value in event.items() if topic == "feedback" or name != "kind"}
        sorted_out.setdefault(topic, []).append(kept)
    return sorted_out


def _listed(answer: Mapping[str, Any]) -> Listed:
    items = answer["items"]
    return Listed(
        [each["item"] for each in items], [each["score"] for each in items], answer["version"], answer["fallback"]
    )
