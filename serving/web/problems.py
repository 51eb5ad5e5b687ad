"""Problem details (RFC 9457): the one JSON shape of every error, with a text that says what would be right.

Errors of the version store, of Redis and of the loaders are raised as they are and become problems by the table
`STORE_PROBLEMS`, on every route.

This file decides how an error looks on the wire, and which status an error of the store gets. The errors themselves are
decided where they are raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import redis.exceptions
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from serving.loading.served import LoaderAway
from stream.state.tables import CorruptDelta
from stream.versions import UnknownVersion, VersionError

MEDIA_TYPE = "application/problem+json"
METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """Body of an error response."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    index: int | None = None
    """Number of the element of a posted array that is wrong, from 0."""
    field: str | None = None
    """The field or parameter that is wrong."""
    elements: list[Any] | None = None
    """One status for each element of a posted array, in order."""


class Problem(Exception):
    """A request that can't be answered as it was sent.

    Args:
        status: HTTP status.
        detail: what was wrong, where, and what would be right.
        index: number of the posted element that is wrong, from 0.
        field: field or parameter that is wrong.
        elements: a status for each posted element.
        headers: of the response, beside the content type.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        index: int | None = None,
        field: str | None = None,
        elements: list[Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.details = ProblemDetails(
            HTTPStatus(status).phrase, status, detail, index=index, field=field, elements=elements
        )
        self.headers = headers

    def response(self) -> Response:
        """The problem as an HTTP response."""
        return Response(msgspec.json.encode(self.details), self.details.status, self.headers, MEDIA_TYPE)


class StoreProblem(NamedTuple):
    """A row of `STORE_PROBLEMS`."""

    status: int
    """HTTP status."""
    detail: str
    """Text of the problem; `{error}` is replaced by the error's own."""
    field: str | None = None
    """Parameter or body field that names the version, on routes that have one."""
    headers: Mapping[str, str] | None = None


RETRY_SOON: Mapping[str, str] = {"Retry-After": "1"}
"""Redis and the loading process are asked again at least once a second."""

_UNREADABLE = StoreProblem(HTTPStatus.CONFLICT, "The version can't be read: {error}", "version")

STORE_PROBLEMS: dict[type[Exception], StoreProblem] = {
    UnknownVersion: StoreProblem(HTTPStatus.NOT_FOUND, "{error}", "version"),
    VersionError: _UNREADABLE,
    CorruptDelta: _UNREADABLE,
    redis.exceptions.RedisError: StoreProblem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The version store (Redis) does not answer: {error}. Versions in memory still answer.",
        "version",
        RETRY_SOON,
    ),
    LoaderAway: StoreProblem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The process that loads versions is being restarted: {error}. Versions in memory still answer.",
        "version",
        RETRY_SOON,
    ),
}
"""Errors of the version store and of the loaders, as problems. A subclass without a row has its nearest base class's.

| error | status |
|---|---|
| there is no such version | 404 |
| the version is there and can't be read | 409 |
| Redis or the process that loads versions does not answer | 503, to be retried |
"""


def answer_problems(app: FastAPI) -> None:
    """Make every error of an application a response with problem details, whichever kind of route met it."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(Exception, _unexpected)
    for error_type in STORE_PROBLEMS:
        app.add_exception_handler(error_type, _store_problem)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _store_problem(request: Request, error: Exception) -> Response:
    row = next(STORE_PROBLEMS[each] for each in type(error).__mro__ if each in STORE_PROBLEMS)
    # FastAPI's routes have the version in their path; only lists take it as a parameter or a field of the body.
    field = None if isinstance(request.scope.get("route"), APIRoute) else row.field
    return Problem(row.status, row.detail.format(error=error), field=field, headers=row.headers).response()


def _takes(request: Request, method: str) -> bool:
    """True if the address of a request has a route for a method."""
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, headers = request.url.path, error.headers
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"There is no {path!r}. The routes are listed under /docs; an id in a path is percent-encoded."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route of an address, and an address may have several.
        methods = {each for each in METHODS if _takes(request, each)}
        allowed = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
        headers = {**(headers or {}), "Allow": allowed}
        detail = f"{path!r} takes {allowed}, not {request.method}."
    else:
        detail = str(error.detail)
    return Problem(error.status_code, detail, headers=headers).response()


async def _wrong_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return Problem(422, f"{name}: {first['msg']}, not {first.get('input')!r}", field=name).response()


async def _unexpected(_: Request, __: Exception) -> Response:
    return Problem(500, "The server met an unexpected error, which is in its log. Trying again may help.").response()
