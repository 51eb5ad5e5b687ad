"""HTTP protocol that answers some GETs as soon as their head is parsed.

This file decides which requests may be answered or refused inside the protocol. Of the time that a list took over
HTTP, a third went into parts that a list never needs: a task, an application scope, a stack of middlewares and two
messages for every answer. `Protocol` first calls a function of the application. If that returns None (any other route,
a wrong parameter, a version that has to be loaded first), or if the client reads too slowly, the request is passed to
uvicorn and answered as usual, so this file handles no errors. Limits of time and size are decided by
`serving.web.connection`.

It overrides internals of uvicorn, which may change with any minor release: `pyproject.toml` allows none above those
that were tested, and `tests/serving/web/test_fast_protocol.py` names every attribute that is used and what to look at
if it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from serving.web.body import Headers
from serving.web.connection import DEFAULT_LIMITS, Connection, ConnectionLimits
from serving.web.cors import Cors
from serving.web.endpoint import PERSONAL_HEADERS
from serving.web.shedding import NEVER_SHED, Shedder, is_plain_get

_PERSONAL = b"".join(b"\r\n%s: %s" % header for header in PERSONAL_HEADERS)
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json" + _PERSONAL
"""Beginning of an answer. The answers that are given here are lists for visitors."""

LENGTH = b"\r\ncontent-length: "
"""Beginning of the header with the length of an answer."""


FastAnswer = Callable[[bytes, Headers, str], bytes | tuple[bytes, bytes] | None]
"""Target (path and query as they were sent), headers and peer's address of a GET to a JSON body of status 200, to a
head and a body, or to None: not answered here. A head has neither the length of the body nor an end."""


class Protocol(Connection):
    """HTTP/1.1 of one connection. `fast_protocol_class` makes the class for an application, uvicorn its instances."""

    prefix: bytes
    fast_answer: FastAnswer
    _fast = False
    """True while the request that is being read may be answered by `fast_answer`."""
    _shed = False
    """True while the request that is being read will be refused because too many wait."""
    cors: ClassVar[Cors] = Cors()
    """Origins whose scripts may read answers."""

    def shed_unparsed(self, data: bytes) -> bool:
        if not (self._between and not self.cors and self._may_answer() and is_plain_get(data)):
            return False
        self.shedder.refuses(self.loop)
        self.transport.write(self.shedder.answer(self.server_state.default_headers))
        self.on_response_complete()
        return True

    def _may_answer(self) -> bool:
        """True if an answer may be written now: no earlier one is being made, and the client takes what it gets."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self._ends
            and not self.transport.is_closing()
        )

    def on_headers_complete(self) -> None:
        self.head_complete()
        self._shed = self._fast = False
        free = self.cycle is None or self.cycle.response_complete  # otherwise answers would be sent in the wrong order
        answers_here = (
            free and not self.expect_100_continue and not self.flow.write_paused and not self.parser.should_upgrade()
        )
        may_shed = answers_here and not self.url.startswith(NEVER_SHED)
        if may_shed and self.shedder.refuses(self.loop):
            self._shed = True
            return
        self._fast = answers_here and self.url.startswith(self.prefix) and self.parser.get_method() == b"GET"
        if self._fast:
            return
        if may_shed and len(self.tasks) >= self.shedder.most_concurrent:
            self.shedder.count_concurrent()
            self._shed = True
            return
        self.start_request()

    def on_body(self, body: bytes) -> None:
        if self._fast or self._shed:  # the body of a GET has no meaning
            self._unparsed = 0
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        if self._shed:
            self._write_shed()
            return
        if not self._fast:
            super().on_message_complete()
            return
        answer = type(self).fast_answer(self.url, self.headers, self.client[0] if self.client else "")
        if answer is None:
            self.start_request()
            super().on_message_complete()
            return
        if isinstance(answer, bytes):
            self.write_answer(JSON_HEAD, answer)
        else:
            self.write_answer(*answer)

    def write_answer(self, head_start: bytes, body: bytes) -> None:
        """Write a whole answer, and go on with the connection as the client asked.

        Args:
            head_start: status line and headers, without the length of the body.
            body: the body.
        """
        keep_alive = self.keeps_alive()
        head = [head_start, LENGTH, b"%d" % len(body), self.default_lines.of(self.server_state.default_headers)]
        if self.cors:
            for name, value in self.cors.headers_for(self.headers):
                head += [b"\r\n", name, b": ", value]
        head += [b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n", body]
        self.transport.write(b"".join(head))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def keeps_alive(self) -> bool:
        """True if the connection stays open after the present request."""
        return self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"

    def _write_shed(self) -> None:
        if self.keeps_alive():
            self.transport.write(self.shedder.answer(self.server_state.default_headers))
        else:
            self.transport.write(self.shedder.closing_answer(self.server_state.default_headers))
            self.transport.close()
        self.on_response_complete()


def fast_protocol_class(
    prefix: bytes,
    fast_answer: FastAnswer,
    *,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    root_path: str = "",
    count_refusal: Callable[[int], None] = lambda _: None,
    shedder: Shedder | None = None,
    cors: Cors | None = None,
) -> type[Protocol]:
    """The protocol class of an application.

    Args:
        prefix: GETs whose target begins with it are offered to `fast_answer`.
        fast_answer: answers a target, or returns None.
        limits: of every connection.
        root_path: path under which a proxy offers the application; empty or with a slash first and none at the end.
        count_refusal: is called with the status of each request that is refused before the application sees it.
        shedder: decides which requests are refused because too many wait; None: none is.
        cors: origins whose scripts may read answers; None: none.
    """
    attributes: dict[str, Any] = {
        "prefix": prefix,
        "fast_answer": staticmethod(fast_answer),
        "limits": limits,
        "root_path_bytes": root_path.encode(),
        "count_refusal": staticmethod(count_refusal),
        "shedder": shedder or Shedder(),
        "cors": cors or Cors(),
    }
    return type("FastProtocol", (Protocol,), attributes)
