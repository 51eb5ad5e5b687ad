"""Proxies of the environment: calls to our own servers don't go through them."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmarks.harness.processes import served_version
from simulators.client import Client
from simulators.senders import http_sender
from stream.doctor.server import check_server

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "127.0.0.1:9"
"""The port of the discard service: no proxy listens there."""


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer({"status": "ready", "version": 7})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer({"accepted": 1})

    def _answer(self, body: dict) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(params=[f"http://{NOBODY}", f"socks5://{NOBODY}"], ids=["http", "socks"], autouse=True)
def proxy(request, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, request.param)
        monkeypatch.setenv(name.lower(), request.param)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


async def test_a_server_is_reached_although_the_environment_names_a_proxy(port):
    address = f"http://127.0.0.1:{port}"
    with Client(address) as client:
        client.check_alive()
        assert client.post("clicks", [{"user": "ada", "item": "teapot"}]) == 1
    async with http_sender(address) as sender:
        assert (await sender.send("clicks", [{"user": "ada", "item": "teapot"}])).refused == 0
    assert served_version(port) == 7
    assert check_server(address, lambda: 0.0, expected=True)[0].severity.name == "OK"


def test_every_call_of_httpx_leaves_proxies_out():
    found = []
    for path in (ROOT / "simulators").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                *("httpx.get", "httpx.post", "httpx.request", "httpx.stream", "httpx.Client", "httpx.AsyncClient"),
            }:
                direct = any(each.arg == "trust_env" and ast.unparse(each.value) == "False" for each in node.keywords)
                found.append((path.name, direct))
    assert len(found) >= 4
    assert [name for name, direct in found if not direct] == []
