"""HTTP protocol that answers some GETs as soon as their head is parsed.

This file decides which requests may be answered inside the protocol. Of the time that a list took over HTTP, a third
went into parts that a list never needs: a task, an application scope, a stack of middlewares and two messages for every
answer. `Protocol` first calls a function of the application. If that returns None (any other route, a wrong parameter,
a version that has to be loaded first), or if the client reads too slowly, the request is passed to uvicorn and answered
as usual, so this file handles no errors. Limits of time and size are decided by `serving.web.connection`.

It overrides internals of uvicorn, which may change with any minor release: `pyproject.toml` allows none above those
that were tested, and `tests/serving/web/test_fast_protocol.py` names every attribute that is used and what to look at
if it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from serving.web.body import Headers
from serving.web.connection import DEFAULT_LIMITS, Connection, ConnectionLimits
from serving.web.endpoint import PERSONAL_HEADERS

FastAnswer = Callable[[bytes, Headers], bytes | None]
"""Target (path and query as they were sent) and headers of a GET to a JSON body of status 200, or None: not answered
here."""

_PERSONAL = b"".join(b"\r\n%s: %s" % header for header in PERSONAL_HEADERS)
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json" + _PERSONAL + b"\r\ncontent-length: "
"""Beginning of an answer, up to its length. The answers that are given here are lists for visitors."""


class Protocol(Connection):
    """HTTP/1.1 of one connection. `fast_protocol_class` makes the class for an application, uvicorn its instances."""

    prefix: bytes
    fast_answer: FastAnswer
    _fast = False
    """True while the request that is being read may be answered by `fast_answer`."""

    def on_headers_complete(self) -> None:
        self.head_complete()
        free = self.cycle is None or self.cycle.response_complete  # otherwise answers would be sent in the wrong order
        self._fast = (
            free
            and self.url.startswith(self.prefix)
            and self.parser.get_method() == b"GET"
            and not self.expect_100_continue
            and not self.flow.write_paused
            and not self.parser.should_upgrade()
        )
        if not self._fast:
            self.start_request()

    def on_body(self, body: bytes) -> None:
        if self._fast:  # the body of a GET has no meaning
            self._unparsed = 0
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._fast:
            super().on_message_complete()
            return
        body = type(self).fast_answer(self.url, self.headers)
        if body is None:
            self.start_request()
            super().on_message_complete()
            return
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        head = [JSON_HEAD, b"%d" % len(body)]
        for name, value in self.server_state.default_headers:
            head += [b"\r\n", name, b": ", value]
        head += [b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n", body]
        self.transport.write(b"".join(head))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()


def fast_protocol_class(
    prefix: bytes,
    fast_answer: FastAnswer,
    *,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    root_path: str = "",
    count_refusal: Callable[[int], None] = lambda _: None,
) -> type[Protocol]:
    """The protocol class of an application.

    Args:
        prefix: GETs whose target begins with it are offered to `fast_answer`.
        fast_answer: answers a target, or returns None.
        limits: of every connection.
        root_path: path under which a proxy offers the application; empty or with a slash first and none at the end.
        count_refusal: is called with the status of each request that is refused before the application sees it.
    """
    attributes: dict[str, Any] = {
        "prefix": prefix,
        "fast_answer": staticmethod(fast_answer),
        "limits": limits,
        "root_path_bytes": root_path.encode(),
        "count_refusal": staticmethod(count_refusal),
    }
    return type("FastProtocol", (Protocol,), attributes)
