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
from typing import Any

import msgspec
from starlette.routing import Route

import serving.web.path_ids  # noqa: F401  # registers the convertor of `{name:id}`
from serving.web.body import Receive, read_body
from serving.web.parsing import BodyReader, QueryReader
from serving.web.unknown_parameters import refuse_unknown

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
        body = _encode(await self.handle(state.responder, request, **scope["path_params"]))
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*self._headers, (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

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
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
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


def _problem_response(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


_PROBLEM_RESPONSES: dict[str, Any] = {
    "400": _problem_response("The body is not JSON"),
    "401": _problem_response("The key is missing, unknown, expired or revoked"),
    "403": _problem_response("The key does not have the scope that the call needs"),
    "404": _problem_response("No such version"),
    "409": _problem_response("The version is there and can't be read"),
    "413": _problem_response("The body is too large"),
    "415": _problem_response("The body is encoded, and not with gzip; or an administrative call is not JSON"),
    "422": _problem_response("A parameter or field is wrong; it is named"),
    "429": _problem_response("A limit of the key or of the address is used up; Retry-After says until when"),
    "503": _problem_response("Redis or Kafka is down, or too many requests wait; trying again later helps"),
}


def problem_responses(*statuses: str) -> dict[str, Any]:
    """OpenAPI responses of these statuses, in ascending order."""
    return {status: _PROBLEM_RESPONSES[status] for status in sorted(statuses)}
