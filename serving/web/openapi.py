"""The OpenAPI document and the page that shows it, both without anything from the internet.

This file decides what the document holds and where the page gets its files. FastAPI documents its own routes; the lists
and every Struct are added here from msgspec's schema, the same definitions that decode. FastAPI's page at `/docs` loads
Swagger UI from a content network, which a shop's servers often can't reach; here its files come from the package
`fastapi-offline`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from serving.web.endpoint import RATE_HEADERS, Endpoint, described_headers, problem_response, problem_responses
from serving.web.examples import add_examples
from serving.web.links import add_links

REFERENCE = "#/components/schemas/{name}"
SWAGGER_FILES = "/docs/program"


SECURITY_SCHEMES: Mapping[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, as `corrente keys create` prints it."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    "publicKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A public key, from a page of one of its origins. It needs a token beside it. Beacons have both "
        "in their body: `text/plain` with the JSON `{key, token, events}`.",
    },
    "visitorToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Visitor-Token",
        "description": "JSON Web Token (HS256) that the shop has signed for a visitor: `aud`, `exp`, `sub`, `sid`.",
    },
}
"""Two headers that bring a key, and two that bring a public key with a token."""

BEACON_TYPE = "text/plain"
"""Media type of a beacon: that of a text which a page gives to `navigator.sendBeacon`."""

PUBLIC: Mapping[str, list[str]] = {"publicKey": [], "visitorToken": []}
"""Both together open the routes for web pages."""

ANYWHERE = {
    **problem_responses("408", "422", "431", "500"),
    "400": problem_response(
        "400",
        "The request is no HTTP/1.1 that can be read",
        "This is no HTTP/1.1 request (Invalid method encountered). Send one, over plain HTTP without TLS.",
    ),
}
"""Errors of every route: of its parameters, of the HTTP around it, and of the server itself."""


def document(
    app: FastAPI,
    endpoints: Sequence[Endpoint],
    structs: Sequence[type],
    renamed_structs: Mapping[str, type],
    scopes: Mapping[str, str | None],
    *,
    public_routes: Collection[str],
    beacon_routes: Collection[str],
    header_parameters: Mapping[str, Mapping[str, Any]],
    is_open: bool,
    field_names: Mapping[str, str],
) -> dict[str, Any]:
    """The whole OpenAPI document.

    Args:
        app: the application, with its FastAPI routes.
        endpoints: routes that FastAPI does not know.
        structs: Structs that FastAPI routes refer to.
        renamed_structs: Structs by the name to show them under; the events, whose fields may be renamed, are such.
        scopes: `METHOD template` of each route to the scope that it needs; None for an open one.
        public_routes: those of `scopes` that a public key opens, with a token.
        beacon_routes: those of them that take key and token in a body of plain text. An open server has no public keys,
            so its document has no beacons.
        header_parameters: by route a parameter that is a header, beside those of the route itself.
        is_open: True while calls need no key.
        field_names: our name of an event's field to the one that producers use.
    """
    kinds = [*structs, *(each for endpoint in endpoints for each in (endpoint.request_type, endpoint.response_type))]
    kinds = list(dict.fromkeys(kinds))
    references, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    reference_of = dict(zip(kinds, references, strict=True))
    for name, kind in renamed_structs.items():
        _, of_kind = msgspec.json.schema_components([kind], ref_template=REFERENCE)
        components[name] = _with_visitor(kind, of_kind[kind.__name__])
    whole_document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    whole_document.setdefault("components", {}).setdefault("schemas", {}).update(components)
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        operation = endpoint.operation(reference_of.__getitem__, components)
        paths.setdefault(endpoint.template, {})[endpoint.method.lower()] = operation
    whole_document["paths"] = {**paths, **whole_document["paths"]}
    whole_document["components"]["securitySchemes"] = dict(SECURITY_SCHEMES)
    for path, methods in whole_document["paths"].items():
        for method, operation in methods.items():
            route = f"{method.upper()} {path}"
            responses = {**ANYWHERE, **operation["responses"]}
            if scope := scopes.get(route):
                operation["security"] = [
                    {"bearer": [scope]},
                    {"apiKey": [scope]},
                    *[PUBLIC] * (route in public_routes),
                    *[{}] * is_open,
                ]
                responses = {**problem_responses("401", "403", "429", "503"), **responses}
                for status in (status for status in responses if status.startswith("2")):
                    headers = {**responses[status].get("headers", {}), **described_headers(RATE_HEADERS)}
                    responses[status] = {**responses[status], "headers": headers}
            if header := header_parameters.get(route):
                operation["parameters"] = [*operation.get("parameters", []), header]
            operation["responses"] = {status: responses[status] for status in sorted(responses)}
            add_examples(route, operation, field_names if path.startswith("/v1/events/") else {})
            if route in beacon_routes and not is_open:
                content = operation["requestBody"]["content"]
                content[BEACON_TYPE] = _beacon(content["application/json"])
            add_links(operation)
    return whole_document


def _beacon(events: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a beacon, for the content of a body of JSON."""
    schema = {
        "title": "Beacon",
        "type": "object",
        "description": "JSON that a page gives to `navigator.sendBeacon` as a text, because that sets no headers. "
        "It has at most 65,536 bytes, and no key stands in the headers beside it.",
        "additionalProperties": False,
        "required": ["key", "token", "events"],
        "properties": {
            "key": {"type": "string", "description": "Public key of the page."},
            "token": {"type": "string", "description": "Token of the visitor, whom all events are about."},
            "events": events["schema"],
        },
    }
    example = {
        "key": "corrente_…",
        "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
        "events": events.get("example", []),
    }
    return {"schema": schema, "example": example}


def _with_visitor(kind: type, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an event, with the rule that it has a user or a session.

    Args:
        kind: type of the event, whose fields may be renamed.
        schema: of that type; a record of a mapped topic has no fields of its own and stays as it is.
    """
    names = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))  # type: ignore[attr-defined]
    choices = [
        {"required": [names[field]], "properties": {names[field]: {"not": {"type": "null"}}}}
        for field in ("user", "session")
        if field in names
    ]
    return {**schema, "anyOf": choices} if choices else schema


def add_pages(app: FastAPI) -> None:
    """Add Swagger UI at `/docs`, and the files it consists of."""
    app.mount(SWAGGER_FILES, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs")

    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            swagger_js_url=f"{root}{SWAGGER_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{SWAGGER_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{root}{SWAGGER_FILES}/favicon.png",
            swagger_ui_parameters={"tryItOutEnabled": True, "defaultModelsExpandDepth": 0},
        )

    app.add_route("/docs", docs, include_in_schema=False)
