"""The OpenAPI document and the page to read it and try it out, both without anything from the internet.

FastAPI documents its own routes; the lists and every Struct are added here from msgspec's schema, the same definitions
that decode. FastAPI's page at `/docs` loads Swagger UI from a content network, which a shop's servers often can't
reach; here its files come from the package `fastapi-offline`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from serving.web.endpoint import Endpoint

REFERENCE = "#/components/schemas/{name}"
PROGRAM = "/docs/program"


def document(
    app: FastAPI, endpoints: Sequence[Endpoint], shapes: Sequence[type], renamed_shapes: Mapping[str, type]
) -> dict[str, Any]:
    """The whole OpenAPI document.

    Args:
        app: with its FastAPI routes.
        endpoints: routes that FastAPI does not know.
        shapes: Structs that FastAPI routes refer to.
        renamed_shapes: Structs to be shown under a name of ours, as the events are under other field names.
    """
    kinds = [*shapes, *(each for endpoint in endpoints for each in (endpoint.asks, endpoint.answers))]
    kinds = list(dict.fromkeys(kinds))
    references, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    reference_of = dict(zip(kinds, references, strict=True))
    for name, kind in renamed_shapes.items():
        _, of_kind = msgspec.json.schema_components([kind], ref_template=REFERENCE)
        components[name] = of_kind[kind.__name__]
    whole = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    whole.setdefault("components", {}).setdefault("schemas", {}).update(components)
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        operation = endpoint.documented(reference_of.__getitem__, components)
        paths.setdefault(endpoint.template, {})[endpoint.method.lower()] = operation
    whole["paths"] = {**paths, **whole["paths"]}
    return whole


def pages(app: FastAPI) -> None:
    """Swagger UI at `/docs`, and the files it consists of."""
    app.mount(PROGRAM, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs")

    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            swagger_js_url=f"{root}{PROGRAM}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{PROGRAM}/swagger-ui.css",
            swagger_favicon_url=f"{root}{PROGRAM}/favicon.png",
            swagger_ui_parameters={"tryItOutEnabled": True, "defaultModelsExpandDepth": 0},
        )

    app.add_route("/docs", docs, include_in_schema=False)
