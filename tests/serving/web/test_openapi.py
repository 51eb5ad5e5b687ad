"""The OpenAPI document is complete: each operation has an id that stays, examples, errors, keys and links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import jsonschema
import pytest

from serving.access.route_scopes import BEACON_ROUTES, PUBLIC_ROUTES, READING_ROUTES, ROUTE_SCOPES
from serving.access.visitors import Beacon
from serving.app import create_app
from serving.web.links import LINKS
from serving.web.openapi import ANYWHERE
from stream.access.scopes import VISITORS_READ
from stream.settings import load_settings

OPERATION_IDS = {
    "GET /v1/recommendations/{user}": "recommend_to_user",
    "POST /v1/recommendations": "recommend_for",
    "GET /v1/items/{item}/similar": "similar_items",
    "GET /v1/items/{item}/bought-together": "items_bought_together",
    "GET /v1/popular": "popular_items",
    "GET /v1/trending": "trending_items",
    "GET /v1/new-arrivals": "new_arrivals",
    "GET /v1/users/{user}/recently-viewed": "recently_viewed",
    "POST /v1/rerank": "rerank_items",
    "POST /v1/recommendations/batch": "recommend_to_several",
    "POST /v1/events/clicks": "post_clicks",
    "POST /v1/events/purchases": "post_purchases",
    "POST /v1/events/feedback": "post_feedback",
    "GET /v1/items": "list_items",
    "PUT /v1/items": "put_items",
    "GET /v1/items/{item}": "show_item",
    "PUT /v1/items/{item}": "put_item",
    "PATCH /v1/items/{item}": "patch_item",
    "DELETE /v1/items/{item}": "delete_item",
    "GET /v1/users": "list_users",
    "GET /v1/users/{user}": "show_user",
    "PUT /v1/users/{user}": "put_user",
    "PATCH /v1/users/{user}": "patch_user",
    "DELETE /v1/users/{user}": "delete_user",
    "GET /v1/transparency": "main_parameters",
    "GET /v1/transparency/page": "main_parameters_page",
    "GET /v1/versions": "list_versions",
    "GET /v1/versions/{version}": "show_version",
    "GET /v1/versions/{a}/diff/{b}": "compare_versions",
    "POST /v1/versions/{version}/rollback": "roll_back",
    "DELETE /v1/pin": "follow_newest",
    "GET /health/live": "live",
    "GET /health/ready": "ready",
    "GET /metrics": "metrics",
}
"""Generated clients name their functions after these: an id never changes."""

WITHOUT_LINKS = {"compare_versions", "live", "ready", "metrics", "main_parameters", "main_parameters_page"}
"""Operations whose answers feed no other operation."""


@cache
def document() -> Mapping[str, Any]:
    return create_app(load_settings({}), reachable=True).openapi()


def operations() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


EACH = pytest.mark.parametrize(("route", "operation"), list(operations()), ids=[route for route, _ in operations()])


def schema_of(reference_or_schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**reference_or_schema, "components": document()["components"]}


def success(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(answer for status, answer in operation["responses"].items() if status.startswith("2"))


def test_ids_of_operations_stay() -> None:
    assert {route: operation["operationId"] for route, operation in operations()} == OPERATION_IDS
    assert len(set(OPERATION_IDS.values())) == len(OPERATION_IDS)


@EACH
def test_an_operation_says_what_it_does(route: str, operation: Mapping[str, Any]) -> None:
    assert operation["summary"]
    assert operation["tags"]
    for parameter in operation.get("parameters", ()):
        inner = parameter["schema"].get("anyOf", [{}])[0]
        documented = parameter.get("description") or inner.get("description")
        assert documented, f"{route}: {parameter['name']} has no description"


@EACH
def test_every_error_is_a_problem_with_an_example(route: str, operation: Mapping[str, Any]) -> None:
    expected = {*ANYWHERE, *(("401", "403", "429", "503") if ROUTE_SCOPES[route] else ())}
    assert expected <= set(operation["responses"])
    for status, answer in operation["responses"].items():
        if status.startswith("2") or (route, status) == ("GET /health/ready", "503"):
            continue
        assert answer["description"]
        ((media_type, content),) = answer["content"].items()
        assert media_type == "application/problem+json"
        assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}
        jsonschema.validate(content["example"], schema_of(content["schema"]))
        assert content["example"]["status"] == int(status)
        assert content["example"]["title"] == HTTPStatus(int(status)).phrase
        assert ("WWW-Authenticate" in answer.get("headers", {})) is (status == "401")
        assert ("Retry-After" in answer.get("headers", {})) is (status in {"429", "503"})


@EACH
def test_answers_that_limits_apply_to_say_what_is_left(route: str, operation: Mapping[str, Any]) -> None:
    for answer in (success(operation), operation["responses"].get("429")):
        names = set((answer or {}).get("headers", {}))
        assert ({"RateLimit", "RateLimit-Policy"} <= names) is (ROUTE_SCOPES[route] is not None)


@EACH
def test_a_body_of_plain_text_is_a_beacon(route: str, operation: Mapping[str, Any]) -> None:
    content = operation.get("requestBody", {}).get("content", {})
    assert ("text/plain" in content) is (route in BEACON_ROUTES)
    if route in BEACON_ROUTES:
        schema = schema_of(content["text/plain"]["schema"])
        assert list(schema["properties"]) == schema["required"] == list(Beacon.__struct_fields__)
        event = content["application/json"]["example"]
        for events in (event, [event, event]):
            jsonschema.validate({"key": "a", "token": "b", "events": events}, schema)
        for wrong in ({"key": "a", "events": event}, {"key": "a", "token": "b", "events": {}}, event):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(wrong, schema)


def test_an_open_server_takes_no_beacons() -> None:
    """A beacon brings a public key, and with its first key a server is no longer open."""
    for methods in create_app(load_settings({})).openapi()["paths"].values():
        for operation in methods.values():
            assert "text/plain" not in operation.get("requestBody", {}).get("content", {})


@EACH
def test_bodies_paths_and_answers_have_examples_that_fit(route: str, operation: Mapping[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["required"]:
            jsonschema.validate(parameter["example"], parameter["schema"])
    contents = [*success(operation)["content"].values(), *operation.get("requestBody", {}).get("content", {}).values()]
    assert contents
    for content in contents:
        jsonschema.validate(content["example"], schema_of(content["schema"]))
        assert content["example"] or content["example"] == {}


@EACH
def test_an_operation_says_which_key_it_needs(route: str, operation: Mapping[str, Any]) -> None:
    scope = ROUTE_SCOPES[route]
    page = [{"publicKey": [], "visitorToken": []}] if route in PUBLIC_ROUTES else []
    wanted = [{"bearer": [scope]}, {"apiKey": [scope]}, *page] if scope else None
    assert operation.get("security") == wanted


def test_an_open_server_says_that_keys_are_not_needed() -> None:
    for methods in create_app(load_settings({})).openapi()["paths"].values():
        for operation in methods.values():
            assert {} in operation.get("security", [{}])


@EACH
def test_answers_that_another_operation_takes_are_linked(route: str, operation: Mapping[str, Any]) -> None:
    links = success(operation).get("links", {})
    assert bool(links) is (operation["operationId"] not in WITHOUT_LINKS)
    by_id = {each["operationId"]: each for _, each in operations()}
    for link in links.values():
        target = by_id[link["operationId"]]
        assert link["description"]
        known = {parameter["name"] for parameter in target.get("parameters", ())}
        needed = {parameter["name"] for parameter in target.get("parameters", ()) if parameter["required"]}
        assert needed <= set(link.get("parameters", {})) <= known
        assert ("requestBody" in link) is ("requestBody" in target)
        for expression in (*link.get("parameters", {}).values(), *values_of(link.get("requestBody"))):
            assert re.fullmatch(r"\$(response\.body#(/\w+)+|request\.body#(/\w+)+|request\.path\.\w+)", expression)


def values_of(body: Any) -> Iterator[str]:
    yield from (body or {}).values()


def test_every_link_belongs_to_an_operation() -> None:
    assert set(LINKS) == set(OPERATION_IDS.values()) - WITHOUT_LINKS


def test_an_event_needs_a_user_or_a_session_also_under_other_names() -> None:
    renamed = create_app(load_settings({}, fields={"user": "customer", "item": "product"})).openapi()
    click = schema_of({"$ref": "#/components/schemas/Click"}) | {"components": renamed["components"]}
    jsonschema.validate({"product": "a", "customer": 7}, click)
    jsonschema.validate({"product": "a", "session": "s"}, click)
    for wrong in ({"product": "a"}, {"product": "a", "customer": None}, {"product": "a", "user": "ada"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, click)
    shown = renamed["paths"]["/v1/events/clicks"]["post"]["requestBody"]["content"]["application/json"]["example"]
    jsonschema.validate(shown, click)


def test_every_route_that_may_read_personal_data_takes_a_reason_and_no_other_does() -> None:
    named = {route: {each["name"] for each in operation.get("parameters", ())} for route, operation in operations()}
    assert {route for route, names in named.items() if "X-Why" in names} == READING_ROUTES
    assert {route for route, scope in ROUTE_SCOPES.items() if scope == VISITORS_READ} < READING_ROUTES
