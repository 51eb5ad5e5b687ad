"""The shortest way from a request to its list: answered where the last byte of its head is parsed.

Of the time that a list took over HTTP, a third went into what a list never needs: a task, an application scope, a stack
of middlewares and two messages for every answer. `Protocol` is uvicorn's own, except that it first asks the application
for an answer at once. Whatever the application doesn't answer at once (any other route, a wrong parameter, a version
that has to be loaded first, a client that reads too slowly) goes uvicorn's long way and is answered there, so this file
knows no errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

AnswerAtOnce = Callable[[bytes], bytes | None]
"""The target of a GET (path and query as they were sent) to a JSON body of status 200, or None: the long way."""

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 of one connection. Made by uvicorn; `answering` makes the class for an application."""

    prefix: bytes
    answer_at_once: AnswerAtOnce
    _at_once = False
    """Whether the request that is being read may be answered at once."""

    def on_headers_complete(self) -> None:
        free = self.cycle is None or self.cycle.response_complete  # else answers would leave in the wrong order
        self._at_once = (
            free
            and self.url.startswith(self.prefix)
            and self.parser.get_method() == b"GET"
            and not self.expect_100_continue
            and not self.flow.write_paused
            and not self.parser.should_upgrade()
        )
        if not self._at_once:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._at_once:  # a GET's body says nothing
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._at_once:
            super().on_message_complete()
            return
        body = type(self).answer_at_once(self.url)
        if body is None:
            super().on_headers_complete()
            super().on_message_complete()
            return
        stays = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        head = [JSON_HEAD, b"%d" % len(body)]
        for name, value in self.server_state.default_headers:
            head += [b"\r\n", name, b": ", value]
        head += [b"\r\n\r\n" if stays else b"\r\nconnection: close\r\n\r\n", body]
        self.transport.write(b"".join(head))
        if not stays:
            self.transport.close()
        self.on_response_complete()


def answering(prefix: bytes, answer_at_once: AnswerAtOnce) -> type[Protocol]:
    """The protocol of an application that answers targets beginning with `prefix`."""
    made: dict[str, Any] = {"prefix": prefix, "answer_at_once": staticmethod(answer_at_once)}
    return type("AnsweringProtocol", (Protocol,), made)
