"""Answers over the shortest way are those of the long way, in order; what it can't answer is answered all the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.serving.conftest import Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

USERS = ["u", "v", "nobody", "a/b", "ü", "%2F", "a b"]


@pytest.fixture(scope="module")
def _address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    redis_server = RedisServer(tmp_path_factory.mktemp("redis-at-once"))
    redis_server.start()
    from stream.versions import VersionStore

    store = VersionStore.connect(redis_server.url, "shop")
    publisher = Publisher(store)
    publisher.learn(("u", "a"), ("u", "b"), ("v", "b"), ("v", "c"), ("a/b", "c"), ("ü", "a"), ("%2F", "d"))
    try:
        with serving(redis_server, None, "--port", "0") as (_, address):
            until(lambda: httpx.get(f"{address}/health/ready").json()["version"], "a version answers")
            yield address
    finally:
        store.close()
        redis_server.kill()


@pytest.fixture
def address(_address: str) -> str:
    return _address


def raw(address: str, request: bytes) -> bytes:
    """Everything that the server answers until it closes the connection."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: corrente", *headers, "", ""]).encode()


def list_of(answer: httpx.Response) -> dict:
    """An answer less its id, which no two answers share."""
    return {name: value for name, value in answer.json().items() if name != "answer"}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("asked", [{}, {"n": 2}, {"exclude": ["a", "b"]}, {"exclude_seen": True}, {"session": "v"}])
def test_the_short_way_and_the_long_way_give_the_same_list(address: str, user: str, asked: dict):
    short = httpx.get(f"{address}/v1/recommendations/{quote(user, safe='')}", params=asked)
    long = httpx.post(f"{address}/v1/recommendations", json={"user": user, **asked})
    assert (short.status_code, long.status_code) == (200, 200)
    assert list_of(short) == list_of(long)
    assert short.headers["content-type"] == long.headers["content-type"] == "application/json"
    assert short.headers["content-length"] == str(len(short.content))
    assert "date" in short.headers


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/recommendations/", 307),
        ("/v1/recommendations/a/b", 404),
        ("/v1/recommendations/u?n=0", 422),
        ("/v1/recommendations/u?exclude_sen=true", 422),
        ("/v1/recommendations/u?version=999", 404),
        ("/v1/recommendations/%00", 422),
        ("/v1/recommendations/%ff", 422),
        ("/v1/recommendations/u?version=latest", 200),
    ],
)
def test_what_the_short_way_leaves_is_answered_by_the_long_one(address: str, target: str, status: int):
    head = raw(address, get(target, "Connection: close")).partition(b"\r\n")[0]
    assert head.split()[1] == b"%d" % status


def test_requests_on_one_connection_are_answered_in_their_order(address: str):
    targets = [f"/v1/{each}" for each in ("recommendations/u", "popular", "recommendations/v", "recommendations/u?n=0")]
    requests = [get(target) for target in targets * 5] + [get("/v1/recommendations/u?n=1", "Connection: close")]
    said = raw(address, b"".join(requests))
    statuses = [int(answer[:3]) for answer in said.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 200, 422] * 5 + [200]
    last = json.loads(said[said.rindex(b"\r\n\r\n") :])
    assert len(last["items"]) == 1


def test_a_client_of_http_1_0_is_answered_and_let_go(address: str):
    said = raw(address, b"GET /v1/recommendations/u HTTP/1.0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in said


def test_requests_on_the_short_way_are_counted(address: str):
    def counted() -> float:
        lines = httpx.get(f"{address}/metrics").text.splitlines()
        wanted = 'corrente_http_requests_total{method="GET",route="/v1/recommendations/{user}",status="200"} '
        return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    before = counted()
    for _ in range(3):
        assert httpx.get(f"{address}/v1/recommendations/u").status_code == 200
    assert counted() == before + 3
