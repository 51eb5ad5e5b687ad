"""The OpenAPI document and a page that lists the routes, both without anything from the internet.

FastAPI documents its own routes; the lists and every Struct are added here from msgspec's schema, the same definitions
that decode. FastAPI's page at `/docs` loads its program from a content network, which a shop's servers often can't
reach; so `/docs` is a plain page made from the document, and any OpenAPI viewer can be pointed at `/openapi.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.endpoint import Endpoint

REFERENCE = "#/components/schemas/{name}"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
code,pre{{font:14px/1.4 ui-monospace,monospace}}summary{{cursor:pointer;padding:.3rem 0}}h2{{margin-top:2rem}}
.m{{display:inline-block;min-width:4.5rem;font-weight:700;color:#06c}}table{{border-collapse:collapse}}
td,th{{text-align:left;padding:.1rem 1rem .1rem 0;vertical-align:top}}
pre{{background:#f5f5f5;padding:.6rem;overflow:auto}}</style>
<h1>{title}</h1><p>{description}</p><p>Machine-readable: <a href="openapi.json">openapi.json</a></p>{body}</html>"""


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


def page(document: Mapping[str, Any]) -> str:
    """The document as one HTML page: routes, parameters, bodies and answers."""
    sections = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            sections.append(_section(path, method.upper(), operation))
    sections.append("<h2>Shapes</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        text = escape(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())
        heading = f"<summary><code>{escape(name)}</code></summary>"
        sections.append(f'<details id="{escape(name)}">{heading}<pre>{text}</pre></details>')
    info = document["info"]
    return PAGE.format(
        title=escape(info["title"]), description=escape(info.get("description", "")), body="".join(sections)
    )


def _section(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td><code>{escape(_kind(each.get('schema', {})))}</code></td>"
        f"<td>{escape(each.get('description') or each.get('schema', {}).get('description', ''))}</td></tr>"
        for each in operation.get("parameters", ())
    )
    table = f"<table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>{rows}</table>" if rows else ""
    body = "".join(
        f"<p>Body: <code>{escape(_kind(content['schema']))}</code></p>"
        for content in operation.get("requestBody", {}).get("content", {}).values()
    )
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation.get("responses", {}).items()
    )
    return (
        f'<details><summary><span class="m">{method}</span> <code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>"
        f"{table}{body}<table>{answers}</table></details>"
    )


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    default = f" = {schema['default']}" if "default" in schema else ""
    return f"{schema.get('type', 'object')}{default}"
