"""One attempt of a call: the request as httpx sends it, and the answer or the error that comes of it.

This file decides the headers of a request, and what counts as an answer. It sends nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from corrente.calls.call import Call
from corrente.errors import CorrenteError, UnexpectedAnswer, Unreachable, refusal

T = TypeVar("T")

Text = str | Callable[[], str]
"""A text, or a function that gives the present one, such as a key that is replaced now and then."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)
"""Errors before the first byte of a request."""


@dataclass(frozen=True)
class Exchange:
    """Parts that all requests of a client have in common.

    Attributes:
        address: of the server, such as `http://localhost:8080`; it may have a path.
        key: the key, or a function that gives it; empty for none.
        token: token of a visitor, beside a public key.
        origin: of the web page for which a public key acts.
        names: our name of an event's field to the one that the server reads.
        clock: seconds since the epoch.
    """

    address: str
    key: Text = field(default="", repr=False)
    token: Text = field(default="", repr=False)
    origin: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.time

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """Arguments of `httpx.Client.request`."""
        headers = {"accept": "application/json"}
        if call.body is not None:
            headers["content-type"] = "application/json"
        if key := _present(self.key):
            headers["x-api-key"] = key
        if token := _present(self.token):
            headers["x-visitor-token"] = token
        if self.origin:
            headers["origin"] = self.origin
        if call.why:
            headers["x-why"] = quote(call.why, safe=" ")
        return {
            "method": call.method,
            "url": self.address.rstrip("/") + call.target,
            "content": call.body,
            "headers": headers,
        }

    def answer(self, call: Call[T], response: httpx.Response) -> T:
        """The answer in a response.

        Raises:
            Refused: the server refuses; the class says how.
            UnexpectedAnswer: no Corrente answers so.
        """
        status = response.status_code
        if not response.is_success and status not in call.answers:
            if response.is_error:
                raise refusal(status, response.content, response.headers.get("retry-after"), self.clock())
            raise UnexpectedAnswer(f"{self.address} answers {call.route} with {status}; is it the address of a server?")
        try:
            return call.read(response.content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if status in call.answers:
                raise refusal(status, response.content, response.headers.get("retry-after"), self.clock()) from None
            raise UnexpectedAnswer(
                f"{self.address} answers {call.route} with something else than a Corrente does: {error}"
            ) from None

    def failure(self, call: Call[Any], error: httpx.HTTPError) -> CorrenteError:
        """The error of a request without an answer."""
        reason = str(error) or type(error).__name__
        sent = not isinstance(error, _NOT_SENT)
        return Unreachable(f"{self.address} does not answer {call.route}: {reason}", sent=sent)


def _present(text: Text) -> str:
    return (text if isinstance(text, str) else text()).strip()
