"""Routes of the server, from the OpenAPI document that it publishes, with recorded examples.

This file decides the order in which a route is described, and the text of the few fields that the document leaves bare.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec

from docs.generate.http_examples import recorded
from docs.generate.markdown import code, fence, table
from serving.app import create_app
from serving.web.openapi import ANYWHERE
from stream.settings import Settings

DESCRIBED: Mapping[str, str] = {
    "Accepted.accepted": "Number of events; all of the request's.",
    "AliasMove.name": "The alias.",
    "AliasMove.from": "Version that it named before; null if it was not set.",
    "AliasMove.to": "Version that it names since; null if it was removed.",
    "AliasMove.who": "Who moved it, as they said.",
    "AliasMove.why": "For which reason.",
    "AliasMove.at": "When, in seconds since the epoch.",
    "DependencyHealth.up": "True while it answers.",
    "DependencyHealth.reason": "Error of the last attempt.",
    "Health.model": "Name of the model.",
    "Health.version": "Number of the version that answers; null while there is none.",
    "Health.version_id": "Its id.",
    "Health.redis": "Redis, as this server sees it.",
    "Health.kafka": "Kafka, as this server sees it.",
    "Pinned.served": "Number of the version that this server answers from now.",
    "Pinned.served_id": "Its id.",
    "Pinned.pinned": "Number of the pinned version; null if the newest is followed.",
    "ProblemDetails.title": "Name of the status.",
    "ProblemDetails.status": "HTTP status.",
    "ProblemDetails.detail": "What was wrong, where, and what would be right.",
    "ProblemDetails.type": "Always `about:blank`: the status says which kind of problem it is; left out.",
    "Recommendations.model": "Name of the model.",
    "Recommendations.version_id": "Its id.",
    "Recommendations.items": "Best first.",
    "RecommendationsFor.user": "The visitor's user id.",
    "RecommendationsFor.session": "The visitor's session; its events count beside the user's.",
    "RecommendationsFor.exclude": "Items not to recommend.",
    "RecommendationsFor.exclude_seen": "Leave out items that the visitor had.",
    "RecommendationsFor.profiling": "`off`: nothing that is known of the visitor counts.",
    "Rerank.user": "The visitor's user id.",
    "Rerank.session": "The visitor's session; its events count beside the user's.",
    "Rerank.profiling": "`off`: nothing that is known of the visitor counts.",
    "RollbackReason.who": "Who asks for it; goes into the history.",
    "RollbackReason.why": "For which reason; goes into the history.",
    "Scored.item": "Id of the item.",
    "Scored.score": "Compares within one list only.",
    "VersionList.model": "Name of the model.",
    "VersionList.served": "Number of the version that this server answers from.",
    "VersionList.pinned": "Number of the pinned version; null if the newest is followed.",
    "VersionList.aliases": "Version number of each alias.",
    "VersionList.versions": "Newest first.",
    "VersionList.history": "Moves of aliases.",
    "VersionSummary.number": "Rises with every version of the model.",
    "VersionSummary.id": "sha256 of the manifest, 64 hexadecimal digits.",
    "VersionSummary.parent": "Id of the version before.",
    "VersionSummary.lineage": "Changes when a Redis came back older than what had been published.",
    "VersionSummary.created_at": "RFC 3339.",
    "VersionSummary.events": "Events that all shards have learned.",
    "VersionSummary.aliases": "Aliases that name it.",
}
"""Text for parameters and fields without a description in the OpenAPI document, by `Shape.field` or by name."""

SUCCESS: Mapping[str, str] = {
    "GET /v1/items": "A page of items",
    "PUT /v1/items": "All documents are written",
    "PUT /v1/items/{item}": "The document as it is now",
    "PATCH /v1/items/{item}": "The document as it is now",
    "GET /v1/items/{item}": "The document",
    "DELETE /v1/items/{item}": "The document is deleted, and the item is in no list",
    "GET /v1/users": "A page of profiles",
    "PUT /v1/users/{user}": "The profile is written",
    "PATCH /v1/users/{user}": "The profile is changed",
    "GET /v1/users/{user}": "The profile",
    "DELETE /v1/users/{user}": "The profile is deleted, and nothing else",
    "GET /v1/versions": "The list",
    "GET /v1/versions/{version}": "The manifest: see [versions](../explanation/versions.md)",
    "GET /v1/versions/{a}/diff/{b}": "The differences; those of numbers are newer minus older",
    "POST /v1/versions/{version}/rollback": "Pinned, and this server answers from it",
    "DELETE /v1/pin": "The pin is gone, and this server answers from the newest version",
    "GET /v1/transparency": "The parameters, the largest weight first",
    "GET /v1/transparency/page": "The page",
    "GET /health/live": "The process runs",
    "GET /health/ready": "It answers; `status` is `ready` or `degraded`",
    "GET /metrics": "Text for Prometheus: [metrics](metrics.md)",
}
"""Meaning of status 200 where the OpenAPI document has only a word for it."""

EVENTS = "[Events](events.md) has their fields"


@cache
def document() -> Mapping[str, Any]:
    made: Mapping[str, Any] = create_app(Settings()).openapi()
    return made


def routes() -> str:
    """Every route, in the order of the document."""
    parts = []
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            parts.append(_route(f"{method.upper()} {path}", operation))
    return "\n\n".join(parts)


def overview() -> str:
    rows = [
        [code(f"{method.upper()} {path}"), _scope(operation), _summary(operation)]
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]
    return table(["route", "scope", "does"], rows)


def _scope(operation: Mapping[str, Any]) -> str:
    """Scope that a key needs for an operation, or `none` for an open one."""
    return next((code(scopes[0]) for each in operation.get("security", ()) for scopes in each.values()), "none")


def shapes() -> str:
    """Every shape that a route takes or answers and that no other page describes."""
    left_out = {"Click", "Purchase", "Feedback", "RecommendationsOfUser", "RecommendationsFor", "ListOfItems"}
    kept = [(name, shape) for name, shape in document()["components"]["schemas"].items() if name not in left_out]
    return "\n\n".join(f"### {code(name)}\n\n{shape['description']}\n\n{_fields(name)}" for name, shape in kept)


def _summary(operation: Mapping[str, Any]) -> str:
    """The first sentence: FastAPI has the docstring in `description`, an endpoint of lists begins with `summary`."""
    text = operation["description"] if "answers" not in operation["tags"] else operation["summary"]
    return f"{text.splitlines()[0].rstrip('.')}."


def _route(route: str, operation: Mapping[str, Any]) -> str:
    further = operation["description"] if "answers" in operation["tags"] else ""
    parts = [f"### {code(route)}", _summary(operation), further]
    if parameters := operation.get("parameters"):
        rows = [
            [code(each["name"]), each["in"], *_kind_and_default(each["schema"], required=each["required"]), _text(each)]
            for each in parameters
        ]
        parts.append(table(["parameter", "in", "kind", "default", "what it is"], rows))
    if body := operation.get("requestBody"):
        parts.append(_body(body["content"]["application/json"]["schema"], required=body["required"]))
    parts.append(_statuses(route, operation["responses"]))
    parts += [example(each) for each in recorded() if each["route"] == route]
    return "\n\n".join(part for part in parts if part)


def _body(schema: Mapping[str, Any], *, required: bool) -> str:
    if "anyOf" in schema:
        name = _name(schema["anyOf"][0])
        return f"The body is JSON: one `{name}` or an array of them. {EVENTS}."
    if schema.get("type") == "array":
        return f"The body is JSON: an array of `{_name(schema['items'])}`, which is described below."
    name = _name(schema)
    opening = "The body is a JSON object:" if required else "The body may be a JSON object:"
    return f"{opening}\n\n{_fields(name)}"


def _fields(shape_name: str) -> str:
    shape = document()["components"]["schemas"][shape_name]
    rows = [
        [
            code(name),
            *_kind_and_default(schema, required=name in shape.get("required", ())),
            schema.get("description") or _inner(schema).get("description") or _field_text(shape_name, name),
        ]
        for name, schema in shape["properties"].items()
    ]
    return table(["field", "kind", "default", "what it is"], rows)


def _text(parameter: Mapping[str, Any]) -> str:
    found = parameter.get("description") or _inner(parameter["schema"]).get("description")
    return found or _described(parameter["name"])


def _field_text(shape_name: str, field: str) -> str:
    """The string under the field in the shape's class; else what is said of it here."""
    return field_docstrings().get(f"{shape_name}.{field}") or _described(f"{shape_name}.{field}")


def _described(name: str) -> str:
    if name not in DESCRIBED:
        raise LookupError(f"{name} has no description: write a string under the field, or add it to DESCRIBED")
    return DESCRIBED[name]


@cache
def field_docstrings() -> Mapping[str, str]:
    """Strings under fields of Structs, by `Shape.field`."""
    found = {}
    for struct in _subclasses(msgspec.Struct):  # those of the server are imported with `serving.app`
        written = getattr(sys.modules.get(struct.__module__), struct.__name__, None) is struct  # not made at run time
        if written and struct.__module__.startswith(("serving.", "stream.")):
            body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
            assert isinstance(body, ast.ClassDef)
            for field, after in pairwise(body.body):
                match field, after:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[f"{struct.__name__}.{name}"] = " ".join(text.split())
    return found


def _subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _inner(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first of several kinds."""
    first: Mapping[str, Any] = schema.get("anyOf", [{}])[0]
    return first


def _kind_and_default(schema: Mapping[str, Any], *, required: bool) -> tuple[str, str]:
    default = schema.get("default")
    shown = "required" if required and "default" not in schema else ""
    return _kind(schema), code(json.dumps(default)) if default not in (None, "", []) else shown


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"[{code(_name(schema))}](#{_name(schema).lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(each if isinstance(each, str) else json.dumps(each)) for each in schema["enum"])
    words = {"string": "text", "integer": "integer", "number": "number", "boolean": "`true` or `false`", "null": "null"}
    match schema.get("type"):
        case "array":
            inner = f" of {_kind(schema['items'])}" if "items" in schema else ""
            most = f", at most {schema['maxItems']:,}" if "maxItems" in schema else ""
            return f"list{inner}{most}"
        case "object":
            return "object"
        case None:
            return "anything"
        case kind:
            limits = [schema.get(name) for name in ("minimum", "maximum", "minLength", "maxLength")]
            least, most, shortest, longest = limits
            within = f", {least:,} to {most:,}" if least is not None and most is not None else ""
            size = f" of {shortest or 0} to {longest:,} characters" if longest is not None else ""
            return f"{words[str(kind)]}{within}{size}"


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _statuses(route: str, responses: Mapping[str, Any]) -> str:
    rows = []
    for status, response in responses.items():
        if response == ANYWHERE.get(status):
            continue  # said once, for all routes
        content = next(iter(response.get("content", {}).values()), {}).get("schema", {})
        shape = _kind(content) if "$ref" in content or "anyOf" in content else ""
        meaning = SUCCESS.get(route, response["description"]) if status == "200" else response["description"]
        rows.append([status, meaning, shape])
    return table(["status", "meaning", "body"], rows)


def example(each: Mapping[str, Any]) -> str:
    """A recorded example: the line to type, and what came back."""
    status = f"{each['status']}" + "".join(
        f", `{name}: {value}`" for name, value in each["headers"].items() if name != "content-type"
    )
    answer = each["answer"]
    shown = "\n".join(answer) if isinstance(answer, list) else _json(answer)
    shown = fence("json" if isinstance(answer, dict) and "…" not in shown else "text", shown)
    return f"{each['title']}:\n\n{fence('sh', _curl(each))}\n\nAnswer {status}:\n\n{shown}"


def _curl(each: Mapping[str, Any]) -> str:
    words = ["curl"]
    usual = "POST" if each["body"] is not None or each["shown"] else "GET"
    if each["method"] != usual:
        words += ["-X", each["method"]]
    path = each["path"]
    words.append(shlex.quote(f"localhost:8080{path}"))
    if each["json"]:
        words += ["-H", "'content-type: application/json'"]
    if each["body"] is not None or each["shown"]:
        body = each["shown"] or (each["body"] if isinstance(each["body"], str) else json.dumps(each["body"]))
        words += ["-d", shlex.quote(body)]
    return " ".join(words)


def _json(value: Any) -> str:
    """Indented JSON whose innermost lists and objects are on one line, if they are short."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    while True:
        joined = re.sub(r"([{\[])\n\s+([^{}\[\]]{1,100}?)\n\s+([}\]])", _one_line, text)
        if joined == text:
            return text.replace('"…": "…"', "…").replace('"…"', "…")
        text = joined


def _one_line(found: re.Match[str]) -> str:
    inside = re.sub(r"\s*\n\s*", " ", found[2])
    return f"{found[1]}{inside}{found[3]}"


SECTIONS = {"http-overview": overview, "http-routes": routes, "http-shapes": shapes}
