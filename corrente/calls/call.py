"""One call: a request, and the type of its answer.

This file decides how parameters become a path, a query string and a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from corrente.events import Id
from corrente.filters import text_of

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the type of its answer.

    Attributes:
        route: method and template, as in the OpenAPI document.
        read: makes the answer from its body.
        ids: values of the template, in order.
        query: pairs of the query string.
        body: JSON; None for none.
        repeatable: False if the call does something else the second time.
        why: reason for the audit trail.
        answers: statuses beside 200 and 202 that are answers and not errors.
    """

    route: str
    read: Callable[[bytes], T]
    ids: Sequence[Id] = ()
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    repeatable: bool = True
    why: str = ""
    answers: frozenset[int] = field(default_factory=frozenset)

    @property
    def method(self) -> str:
        """Method of HTTP."""
        return self.route.partition(" ")[0]

    @property
    def target(self) -> str:
        """Path and query string, percent-encoded.

        >>> Call("GET /v1/items/{item}/similar", bytes, ids=["a/b .."], query=[("n", "3")]).target
        '/v1/items/a%2Fb%20%2E%2E/similar?n=3'
        """
        path = self.route.partition(" ")[2]
        for each in self.ids:
            before, _, after = path.partition("{")
            # A segment of dots alone would be taken as a step in the tree of paths.
            path = before + quote(str(each), safe="").replace(".", "%2E") + after.partition("}")[2]
        return f"{path}?{urlencode(self.query, quote_via=quote)}" if self.query else path


def json_of(kind: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(kind).decode


def plain_text(body: bytes) -> str:
    return body.decode()


def pairs_of(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Parameters that are given, as pairs; a sequence is repeated."""
    pairs: list[tuple[str, str]] = []
    for name, value in given.items():
        if value is None:
            continue
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        pairs += [(name, text_of(each)) for each in several]
    return pairs


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
