"""Every error of the store has one status on every route, of whichever kind the route is."""

from __future__ import annotations

import httpx
import pytest
import redis.exceptions

from serving.app import create_app
from serving.loading.served import LoaderAway
from serving.web.problems import STORE_PROBLEMS
from stream.settings import load_settings
from stream.state.tables import CorruptDelta
from stream.versions import (
    CorruptVersion,
    JournalGone,
    UnknownFormat,
    UnknownVersion,
    VersionError,
    WrongAlias,
)

TABLE = [
    (UnknownVersion("there is no version 99"), 404, None),
    (VersionError("unreadable"), 409, None),
    (CorruptVersion("a checksum differs"), 409, None),
    (UnknownFormat("format 2"), 409, None),
    (JournalGone("dropped"), 409, None),
    (WrongAlias("taken for a number"), 409, None),
    (CorruptDelta("a block beyond the table"), 409, None),
    (redis.exceptions.RedisError("anything"), 503, "1"),
    (redis.exceptions.ConnectionError("refused"), 503, "1"),
    (redis.exceptions.TimeoutError("no answer"), 503, "1"),
    (redis.exceptions.BusyLoadingError("Redis reads its file"), 503, "1"),
    (LoaderAway("no answer"), 503, "1"),
]
"""An error, the status that it gets, and its Retry-After."""

LISTS = [
    ("GET", "/v1/recommendations/u?version=99", None),
    ("POST", "/v1/recommendations", {"user": "u", "version": "99"}),
    ("GET", "/v1/items/i/similar?version=99", None),
    ("GET", "/v1/popular?version=99", None),
    ("GET", "/v1/trending?version=99", None),
]
OPERATIONS = [
    ("GET", "/v1/versions", None),
    ("GET", "/v1/versions/99", None),
    ("GET", "/v1/versions/1/diff/99", None),
    ("POST", "/v1/versions/99/rollback", {"who": "ada"}),
    ("DELETE", "/v1/pin", {}),
]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch):
    """An application that is not started: its loader and its store only raise."""
    app = create_app(load_settings({}))

    def fail_with(error: Exception) -> None:
        def fail(*_, **__):
            raise error

        async def answering(*_, **__):
            raise error

        monkeypatch.setattr(app.state.loader, "answering", answering)
        for name in ("versions", "version", "diff", "aliases", "history", "move_alias"):
            monkeypatch.setattr(app.state.store, name, fail)

    app.fail_with = fail_with
    return app


async def answered(app, method: str, path: str, body) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        return await client.request(method, path, json=body)


@pytest.mark.parametrize(("method", "path", "body"), LISTS + OPERATIONS, ids=lambda each: str(each))
async def test_an_error_has_one_status_on_every_route(app, method, path, body):
    for error, status, retry_after in TABLE:
        app.fail_with(error)
        answer = await answered(app, method, path, body)
        assert answer.status_code == status, (error, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("retry-after") == retry_after
        problem = answer.json()
        assert problem["status"] == status
        assert str(error) in problem["detail"]
        # Lists take the version as a parameter or field, which is named; the others have it in their path, or none.
        assert problem.get("field") == ("version" if (method, path, body) in LISTS else None)


def test_every_row_of_the_table_is_tested():
    assert set(STORE_PROBLEMS) <= {type(error) for error, _, _ in TABLE}


def test_a_subclass_without_a_row_has_the_status_of_its_base_class():
    statuses = {type(error): status for error, status, _ in TABLE}
    for kind, status in statuses.items():
        row = next(STORE_PROBLEMS[each] for each in kind.__mro__ if each in STORE_PROBLEMS)
        assert row.status == status


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/v1/popular", "GET, HEAD"), ("PUT", "/v1/versions", "GET, HEAD"), ("GET", "/v1/events/clicks", "POST")],
)
async def test_another_method_is_405_with_those_that_the_route_takes_in_order(app, method, path, allowed):
    answer = await answered(app, method, path, None)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.json()["detail"] == f"{path!r} takes {allowed}, not {method}."


async def test_an_error_that_is_not_in_the_table_is_500_and_says_nothing_of_itself(app):
    app.fail_with(ZeroDivisionError("a secret detail"))
    for method, path, body in LISTS + OPERATIONS:
        answer = await answered(app, method, path, body)
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
