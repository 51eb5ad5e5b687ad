"""Every error as one JSON shape: problem details (RFC 9457), with a text that says what would be right.

This file decides how an error looks on the wire. Which errors there are is decided where they are raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """What an error answer holds."""

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
    """A request that can't be answered as asked.

    Args:
        status: of HTTP.
        detail: what was wrong, where, and what would be right.
        index: of the posted element that is wrong.
        field: that is wrong.
        elements: a status for each posted element.
        headers: of the answer.
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
        return Response(msgspec.json.encode(self.details), self.details.status, self.headers, MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Make every error of an application answer with problem details."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"There is no {path!r}. The routes are listed under /docs; an id in a path is percent-encoded."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{path!r} takes {allowed}, not {request.method}."
    else:
        detail = str(error.detail)
    return Problem(error.status_code, detail, headers=error.headers).response()


async def _wrong_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return Problem(422, f"{name}: {first['msg']}, not {first.get('input')!r}", field=name).response()


async def _unexpected(_: Request, __: Exception) -> Response:
    return Problem(500, "Something went wrong here, and it is in the server's log. Trying again may help.").response()
