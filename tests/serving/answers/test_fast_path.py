"""Fast path: its answers equal those of the full path, in order, and the full path answers what it leaves."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import httpx
import pytest
import redis.exceptions
import structlog

from serving.answers.fast_path import REFUSED, FastPath
from serving.loading.served import LoaderAway
from serving.web.problems import Problem
from stream.state.tables import CorruptDelta
from stream.versions import CorruptVersion, UnknownVersion, VersionError
from tests import plain_http
from tests.serving.answers.shop import InMemory, application
from tests.serving.conftest import Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

USERS = ["u", "v", "unknown", "a/b", "ü", "%2F", "a b"]


@pytest.fixture(scope="module")
def _address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    redis_server = RedisServer(tmp_path_factory.mktemp("redis-fast-path"))
    redis_server.start()
    from stream.versions import VersionStore

    store = VersionStore.connect(redis_server.url, "shop")
    publisher = Publisher(store)
    publisher.learn(("u", "a"), ("u", "b"), ("v", "b"), ("v", "c"), ("a/b", "c"), ("ü", "a"), ("%2F", "d"))
    try:
        with serving(redis_server, None, "--port", "0") as (_, address):
            until(lambda: plain_http.get(f"{address}/health/ready").json()["version"], "a version answers")
            yield address
    finally:
        store.close()
        redis_server.kill()


@pytest.fixture
def address(_address: str) -> str:
    return _address


def raw_answers(address: str, request: bytes) -> bytes:
    """All bytes that the server sends until it closes the connection."""
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: corrente", *headers, "", ""]).encode()


def without_id(answer: httpx.Response) -> dict:
    """An answer without its id, which no two answers share."""
    return {name: value for name, value in answer.json().items() if name != "answer"}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"exclude": ["a", "b"]}, {"exclude_seen": True}, {"session": "v"}])
def test_the_fast_path_and_the_full_path_give_the_same_list(address: str, user: str, fields: dict):
    fast = plain_http.get(f"{address}/v1/recommendations/{quote(user, safe='')}", params=fields)
    full = plain_http.post(f"{address}/v1/recommendations", json={"user": user, **fields})
    assert (fast.status_code, full.status_code) == (200, 200)
    assert without_id(fast) == without_id(full)
    assert fast.headers["content-type"] == full.headers["content-type"] == "application/json"
    assert fast.headers["content-length"] == str(len(fast.content))
    assert "date" in fast.headers


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
def test_requests_that_the_fast_path_leaves_are_answered_by_the_full_path(address: str, target: str, status: int):
    head = raw_answers(address, get(target, "Connection: close")).partition(b"\r\n")[0]
    assert head.split()[1] == b"%d" % status


def test_requests_on_one_connection_are_answered_in_their_order(address: str):
    targets = [f"/v1/{each}" for each in ("recommendations/u", "popular", "recommendations/v", "recommendations/u?n=0")]
    requests = [get(target) for target in targets * 5] + [get("/v1/recommendations/u?n=1", "Connection: close")]
    answers = raw_answers(address, b"".join(requests))
    statuses = [int(answer[:3]) for answer in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 200, 422] * 5 + [200]
    last = json.loads(answers[answers.rindex(b"\r\n\r\n") :])
    assert len(last["items"]) == 1


def test_a_client_of_http_1_0_is_answered_and_disconnected(address: str):
    answers = raw_answers(address, b"GET /v1/recommendations/u HTTP/1.0\r\n\r\n")
    assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in answers


def test_requests_on_the_fast_path_are_counted(address: str):
    def counted() -> float:
        lines = plain_http.get(f"{address}/metrics").text.splitlines()
        wanted = 'corrente_http_requests_total{method="GET",route="/v1/recommendations/{user}",status="200"} '
        return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    before = counted()
    for _ in range(3):
        assert plain_http.get(f"{address}/v1/recommendations/u").status_code == 200
    assert counted() == before + 3


class Failing:
    """A version whose model raises."""

    def __init__(self, error: Exception) -> None:
        self.version = self.model = self.for_catalogue = self
        self.error = error

    def recommend(self, *_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        Problem(422, "n: too large", field="n"),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "not ASCII"),
        UnknownVersion("there is no version 9"),
        CorruptVersion("a checksum differs"),
        VersionError("not readable"),
        CorruptDelta("a block is missing"),
        redis.exceptions.ConnectionError("connection refused"),
        LoaderAway("the socket was closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_requests_with_an_error_of_their_own_are_left_to_the_full_path_silently(error: Exception):
    assert isinstance(error, REFUSED)
    with structlog.testing.capture_logs() as logs:
        assert FastPath(application(InMemory(Failing(error))).state)(b"/v1/recommendations/u") is None
    assert logs == []


def test_an_unexpected_error_is_logged_and_left_to_the_full_path():
    with structlog.testing.capture_logs() as logs:
        assert FastPath(application(InMemory(Failing(ZeroDivisionError()))).state)(b"/v1/recommendations/u?n=1") is None
    assert [(each["log_level"], each["target"]) for each in logs] == [("error", "/v1/recommendations/u?n=1")]


def test_before_the_first_version_requests_are_left_to_the_full_path():
    assert FastPath(application(InMemory()).state)(b"/v1/recommendations/u") is None


def test_requests_that_are_left_to_the_full_path_are_not_counted_by_the_fast_path():
    app = application(InMemory(Failing(UnknownVersion("there is no version 9"))))
    fast_path = FastPath(app.state)
    assert fast_path(b"/v1/recommendations/u") is None
    assert fast_path(b"/v1/recommendations/u?n=0") is None
    counted = app.state.metrics.registry.get_sample_value(
        "corrente_http_requests_total",
        {"method": "GET", "route": "/v1/recommendations/{user}", "status": "200"},
    )
    assert counted == 0
