"""The quick way from a request to an answer, for the routes that are asked thousands of times a second.

FastAPI resolves parameters and dependencies in about 50 µs a request, as long as a whole list takes. An `Endpoint` is
plain ASGI behind the same router, error handling and documentation: query or body to one Struct, a handler, one Struct
to JSON. Its parameters and schema come from the Structs, as the events' do.

This file decides how such a route is read, answered and documented, not what it answers.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from starlette.routing import Route

import serving.web.path_ids
from serving.web.parsing import BodyReader, QueryReader, Receive, read_body
from serving.web.problems import Problem

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[..., Awaitable[msgspec.Struct]]

_encode = msgspec.json.Encoder().encode


class Endpoint:
    """One route: `handle(loader, ask, **ids in the path)`, where `ask` is the query of a GET and the body of a POST.

    Args:
        method: GET or POST.
        path: with ids as `{name:id}`.
        handle: what answers. Its docstring documents the route.
        asks: Struct of the query or body.
        answers: Struct of the answer.
    """

    def __init__(
        self, method: str, path: str, handle: Handler, *, asks: type[msgspec.Struct], answers: type[msgspec.Struct]
    ) -> None:
        self.method = method
        self.path = path
        self.template = path.replace(":id}", "}")
        self.handle = handle
        self.asks = asks
        self.answers = answers
        self._read_query = QueryReader(asks) if method == "GET" else None
        self._read_body = BodyReader(asks)

    def route(self) -> Route:
        return Route(self.path, self, methods=[self.method], name=self.handle.__name__)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        scope["route_template"] = self.template
        state = scope["app"].state
        query = scope["query_string"]
        if self._read_query is not None:
            ask = self._read_query(query)
        elif query:
            raise Problem(422, f"{self.template} takes a body and no query parameters.")
        else:
            ask = self._read_body(await read_body(scope, receive, state.settings.max_body_bytes))
        answer = await self.handle(state.loader, ask, **scope["path_params"])
        body = _encode(answer)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def documented(self, schema_of: Callable[[type], dict[str, Any]], components: Mapping[str, Any]) -> dict[str, Any]:
        """This route as an OpenAPI operation. `schema_of` gives a reference, `components` what it refers to."""
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
                    "content": {"application/json": {"schema": schema_of(self.answers)}},
                },
                **problem_responses("404", "409", "422", "503", *(("400", "413") if self.method == "POST" else ())),
            },
        }
        if self.method == "GET":
            shape = components[self.asks.__name__]
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
                "content": {"application/json": {"schema": schema_of(self.asks)}},
            }
        return operation


def _problem_response(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


_PROBLEM_RESPONSES: dict[str, Any] = {
    "400": _problem_response("The body is not JSON"),
    "404": _problem_response("No such version"),
    "409": _problem_response("The version is there and can't be read"),
    "413": _problem_response("The body is too large"),
    "422": _problem_response("A parameter or field is wrong; it is named"),
    "503": _problem_response("A dependency is away; trying again later helps"),
}


def problem_responses(*statuses: str) -> dict[str, Any]:
    """What OpenAPI says about these statuses, in their order."""
    return {status: _PROBLEM_RESPONSES[status] for status in sorted(statuses)}
