"""Routes for lists, which get thousands of requests a second.

FastAPI resolves parameters and dependencies in about 50 µs a request, as long as a whole list takes. An `Endpoint` is
plain ASGI behind the same router, error handling and documentation: query or body to one Struct, a handler, one Struct
to JSON. Its parameters and schema come from the Structs, as the events' do.

This file decides how such a route is read, answered and documented, not what it answers. Events and operations stay
FastAPI routes: they have dependencies, statuses and bodies of several kinds, which an `Endpoint` would have to learn,
and an acknowledgement of Kafka or an answer of Redis takes much longer than FastAPI does.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.routing import Route

import serving.web.path_ids  # noqa: F401  # registers the convertor of `{name:id}`
from serving.web.body import Receive, read_body
from serving.web.parsing import BodyReader, QueryReader
from serving.web.unknown_parameters import refuse_unknown
from stream.events import ID_SCHEMA

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[..., Awaitable[msgspec.Struct]]

_encode = msgspec.json.Encoder().encode

PERSONAL_HEADERS = ((b"cache-control", b"private, no-store"),)
"""Headers of a list for a visitor: no cache may keep it, neither a shared one nor the browser's."""


class Endpoint:
    """One route, answered by `handle(responder, request, **ids in the path)`.

    Args:
        method: GET or POST.
        path: with ids as `{name:id}`.
        handle: gets the application's `responder`, and the query of a GET or the body of a POST. Its docstring
            documents the route.
        request_type: Struct of the query or body.
        response_type: Struct of the answer.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        method: str,
        path: str,
        handle: Handler,
        *,
        request_type: type[msgspec.Struct],
        response_type: type[msgspec.Struct],
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.method = method
        self.path = path
        self.template = path.replace(":id}", "}")
        self.handle = handle
        self.request_type = request_type
        self.response_type = response_type
        self._headers = [(b"content-type", b"application/json"), *headers]
        self._read_query = QueryReader(request_type) if method == "GET" else None
        self._read_body = BodyReader(request_type)

    def route(self) -> Route:
        """The route to be put into an application's router."""
        return Route(self.path, self, methods=[self.method], name=self.handle.__name__)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        scope["route_template"] = self.template
        state = scope["app"].state
        await state.guard.admit(scope, self.method, self.template)
        query = scope["query_string"]
        if self._read_query is not None:
            request = self._read_query(query)
        else:
            if query:
                refuse_unknown(query, ())
            request = self._read_body(await read_body(scope, receive, state.settings.max_body_bytes))
        state.guard.keep_to_visitor(scope, request)
        self.take(state, scope, request)
        if getattr(request, "explain", False):
            await state.guard.admit_reasons(scope, request)
        body = _encode(await self.handle(state.responder, request, **scope["path_params"]))
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*self._headers, (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def take(self, state: Any, scope: Mapping[str, Any], request: Any) -> None:
        """Take more of the caller's limits than one list, if a request asks for more. Raises what limits raise."""
        if getattr(request, "explain", False):
            state.guard.take_reasons(scope, request.n)

    def operation(self, schema_of: Callable[[type], dict[str, Any]], components: Mapping[str, Any]) -> dict[str, Any]:
        """This route as an OpenAPI operation.

        Args:
            schema_of: gives the reference to a Struct's schema.
            components: the schemas by name.
        """
        summary, _, description = (inspect.getdoc(self.handle) or "").partition("\n")
        parameters: list[dict[str, Any]] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": "Percent-encoded; may hold any character but control characters.",
                "schema": {"type": "string", **ID_SCHEMA},
            }
            for name in self.route().param_convertors
        ]
        operation: dict[str, Any] = {
            "summary": summary.rstrip("."),
            "description": description.strip(),
            "operationId": self.handle.__name__,
            "tags": ["answers"],
            "parameters": parameters,
            "responses": {
                "200": {
                    "description": "The list",
                    "content": {"application/json": {"schema": schema_of(self.response_type)}},
                },
                **problem_responses(
                    "404", "409", "422", "503", *(("400", "413", "415") if self.method == "POST" else ())
                ),
            },
        }
        if self.method == "GET":
            shape = components[self.request_type.__name__]
            parameters += [
                {
                    "name": name,
                    "in": "query",
                    "required": name in shape.get("required", ()),
                    "description": schema.get("description", ""),
                    "schema": schema,
                }
                for name, schema in shape["properties"].items()
            ]
        else:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": schema_of(self.request_type)}},
            }
        return operation


_PROBLEMS: Mapping[str, tuple[str, str]] = {
    "400": ("The body is not JSON", "The body is not JSON: Input data was truncated."),
    "401": ("The key is missing, unknown, expired or revoked", "This key was revoked. Ask for another one."),
    "403": (
        "The key does not have the scope that the call needs",
        "This call needs a key with the scope metrics:read, which this one does not have.",
    ),
    "404": ("No such version", "model 'shop' has no version '99'"),
    "408": ("The request took too long to arrive", "The headers took longer than 10 s."),
    "409": ("The version is there and can't be read", "The version can't be read: a part of it is lost"),
    "413": (
        "The body is too large",
        "The body is larger than 4194304 bytes (CORRENTE_MAX_BODY_BYTES). Send fewer events at once.",
    ),
    "415": (
        "The body is encoded, and not with gzip; or an administrative call is not JSON",
        "The body is encoded with 'br'. Send it with gzip, or as it is.",
    ),
    "422": ("A parameter or field is wrong; it is named", "n: expected int <= 500, not '5000'"),
    "429": (
        "A limit of the key or of the address is used up; Retry-After says until when",
        "This key has read as many lists as it may in a second. Try again after 1 s.",
    ),
    "431": (
        "The request line and headers are too large",
        "The request line and headers are larger than 65536 bytes (CORRENTE_MAX_HEAD_BYTES).",
    ),
    "500": (
        "An error in the server, which is in its log",
        "The server met an unexpected error, which is in its log. Trying again may help.",
    ),
    "503": (
        "Redis or Kafka is down, or too many requests wait; trying again later helps",
        "This server has not read its keys from Redis yet. Calls go on when Redis answers.",
    ),
}
"""Meaning of each status of an error, and the `detail` of an example."""

RATE_HEADERS: Mapping[str, str] = {
    "RateLimit-Policy": "Limits that the request counted for: name, quota `q`, seconds `w`. Left out without any.",
    "RateLimit": "What is left of them: `r`, and the seconds `t` after which there is more.",
}
"""Headers of draft-ietf-httpapi-ratelimit-headers-10, with a sentence about each."""

_HEADERS: Mapping[str, Mapping[str, str]] = {
    "401": {"WWW-Authenticate": "How a key is sent (RFC 6750)."},
    "429": {"Retry-After": "Seconds after which trying again helps.", **RATE_HEADERS},
    "503": {"Retry-After": "Seconds after which trying again helps."},
}
"""Headers of some of these answers, with a sentence about each."""


def problem_response(status: str, description: str, detail: str) -> dict[str, Any]:
    """OpenAPI response of an error, with an example that says `detail`."""
    problem = {"title": HTTPStatus(int(status)).phrase, "status": int(status), "detail": detail}
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    response: dict[str, Any] = {
        "description": description,
        "content": {"application/problem+json": {"schema": schema, "example": problem}},
    }
    if status in _HEADERS:
        response["headers"] = described_headers(_HEADERS[status])
    return response


def described_headers(texts: Mapping[str, str]) -> dict[str, Any]:
    """OpenAPI description of headers, for a sentence about each by its name."""
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


def problem_responses(*statuses: str) -> dict[str, Any]:
    """OpenAPI responses of these statuses, in ascending order."""
    return {status: problem_response(status, *_PROBLEMS[status]) for status in sorted(statuses)}
