"""A server that asks for keys says its state in a word to everyone, and more to a key."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stream.doctor.findings import Severity
from stream.doctor.server import check_server, readiness

KEY = "corrente_" + "5f" * 32
HEALTH = {"status": "ready", "access": "keys", "version": 7, "redis": {"up": True}, "kafka": {"up": True}}


class AsksForKeys(BaseHTTPRequestHandler):
    """Answers as a server does whose model has a key."""

    def do_GET(self) -> None:
        whole = self.headers["authorization"] == f"Bearer {KEY}"
        self.send_response(200)
        self.end_headers()
        brief = {"status": "ready", "access": "keys"}
        self.wfile.write(json.dumps(HEALTH if whole else brief).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), AsksForKeys) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_without_a_key_a_ready_server_is_well_and_with_one_it_says_its_version(address: str) -> None:
    brief = check_server(address, time.time, expected=True)[0]
    assert brief.severity is Severity.OK
    assert "it says more to a key with metrics:read" in brief.found
    whole = check_server(address, time.time, expected=True, key=KEY)[0]
    assert "answers from version 7" in whole.found


def test_a_degraded_server_is_a_warning_that_names_the_way_to_more() -> None:
    (finding,) = readiness("http://host", 200, {"status": "degraded", "access": "keys"})
    assert finding.severity is Severity.WARNING
    assert "corrente keys create --scope metrics:read" in finding.mend
