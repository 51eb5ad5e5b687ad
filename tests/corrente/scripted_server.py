"""A server that answers by a script, over real HTTP: for refusals that a working server gives seldom.

A step of its script is a status with headers and a body, or `None` to close the connection without an answer. After the
last step every request gets what a server answers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple


class Step(NamedTuple):
    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: Any = None


class Received(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: Any


def problem(status: int, detail: str = "no", retry_after: str | None = None, **more: Any) -> Step:
    """A refusal with problem details."""
    headers = {"content-type": "application/problem+json"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    return Step(status, headers, {"title": "T", "status": status, "detail": detail, **more})


class ScriptedServer:
    """Answers the steps of `script`, one a request, and keeps what it received."""

    def __init__(self) -> None:
        self.script: list[Step | Callable[[Received], Step | None] | None] = []
        self.received: list[Received] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None: ...

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.answer)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def events(self) -> list[list[str]]:
        """Event ids of each posted body."""
        return [[each["event_id"] for each in request.body] for request in self.received if request.method == "POST"]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        body = json.loads(handler.rfile.read(length)) if length else None
        request = Received(handler.command, handler.path, dict(handler.headers.items()), body)
        with self._lock:
            self.received.append(request)
            step = self.script.pop(0) if self.script else accepted
        if callable(step):
            step = step(request)
        if step is None:
            handler.close_connection = True
            handler.connection.close()
            return
        content = json.dumps(step.body).encode() if step.body is not None else b""
        handler.send_response(step.status)
        for name, value in {**step.headers, "content-length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)


def accepted(request: Received) -> Step:
    """The answer of a server that works, to posted events and to anything else."""
    if request.path.startswith("/v1/events/"):
        ids = [each["event_id"] for each in request.body]
        return Step(202, {"content-type": "application/json"}, {"accepted": len(ids), "event_ids": ids})
    return Step(200, {"content-type": "application/json"}, {"status": "live"})
