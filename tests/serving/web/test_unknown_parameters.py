"""Query parameters that a route doesn't have are refused by every route, and named."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from serving.answers.requests import ListOfItems, RecommendationsFor, RecommendationsOfUser
from serving.intake import routes
from serving.operations import health, versions
from serving.web.problems import Problem
from serving.web.unknown_parameters import refuse_unknown
from tests.serving.answers.shop import InMemory, application

APP = application(InMemory())
OPERATIONS = [(method.upper(), path) for path, methods in APP.openapi()["paths"].items() for method in methods]


async def answer_of(method: str, target: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        return await client.request(method, target)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("query", ["colour=blue", "colour", "colour=blue&colour=red"])
async def test_every_route_refuses_a_parameter_that_it_does_not_have(method: str, path: str, query: str):
    answer = await answer_of(method, f"{re.sub('{.*?}', '1', path)}?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == "colour"
    assert "colour" in answer.json()["detail"]


def misspelt(name: str) -> str:
    return name[:-1] + "x" if len(name) < 4 else name[:2] + name[3:]


def parameters_of(method: str, path: str) -> list[str]:
    operation = APP.openapi()["paths"][path][method.lower()]
    return [each["name"] for each in operation["parameters"] if each["in"] == "query" and len(each["name"]) > 1]


MISSPELT = [
    (method, path, name)
    for method, path in OPERATIONS
    if APP.openapi()["paths"][path][method.lower()].get("parameters")
    for name in parameters_of(method, path)
]


async def test_every_misspelt_parameter_is_refused_with_the_nearest_name():
    assert len(MISSPELT) > 60
    for method, path, name in MISSPELT:
        answer = await answer_of(method, f"{re.sub('{.*?}', '1', path)}?{misspelt(name)}=1")
        assert (answer.status_code, answer.json()["field"]) == (422, misspelt(name)), (method, path, name)
        assert f"did you mean {name}?" in answer.json()["detail"], (method, path, name)


@pytest.mark.parametrize("name", [name for name in RecommendationsFor.__struct_encode_fields__ if len(name) > 1])
async def test_every_misspelt_field_of_a_request_for_a_list_is_refused_with_the_nearest_name(name: str):
    transport = httpx.ASGITransport(app=APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        answer = await client.post("/v1/recommendations", json={misspelt(name): 1})
    assert (answer.status_code, answer.json()["field"]) == (422, misspelt(name))
    assert f"did you mean {name}?" in answer.json()["detail"]


TAKEN = {
    "/v1/recommendations/u": set(RecommendationsOfUser.__struct_encode_fields__),
    "/v1/popular": set(ListOfItems.__struct_encode_fields__),
    "/v1/trending": set(ListOfItems.__struct_encode_fields__),
    "/v1/items/1/similar": set(ListOfItems.__struct_encode_fields__),
    "/v1/items/1/bought-together": set(ListOfItems.__struct_encode_fields__),
}


def as_parameter(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        [json.dumps(each) if isinstance(each, dict) else each for each in value] if isinstance(value, list) else value
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"candidates": ["a"], "include": ["a"]}, "include"),
        ({"candidates": ["a", "b"], "exclude": ["b", "a", "c"]}, "exclude"),
        ({"include": ["a", "b"], "exclude": ["b", "a"]}, "exclude"),
        ({"exclude_seen": True, "profiling": "off"}, "exclude_seen"),
        ({"explain": True, "n": 101}, "n"),
        ({"price_min": 2, "price_max": 1}, "price_max"),
        ({"available": False}, "available"),
        ({"categories_all": ["a/b"], "categories_none": ["a"]}, "categories_none"),
        ({"tags": ["a"], "tags_none": ["a"]}, "tags_none"),
        ({"brands": ["a"], "brands_none": ["a"]}, "brands_none"),
        ({"labels": [{"field": "size", "op": "in", "value": 1}]}, "labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_contradicts_itself_is_refused_on_every_route_that_takes_it(body: dict, field: str):
    transport = httpx.ASGITransport(app=APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        answers = [await client.post("/v1/recommendations", json=body)]
        for path, fields in TAKEN.items():
            if set(body) <= fields:
                answers += [await client.get(path, params={name: as_parameter(each) for name, each in body.items()})]
    for answer in answers:
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


def test_every_route_is_in_the_document_but_the_pages_that_show_it():
    own = {getattr(route, "path_format", route.path) for route in APP.routes if hasattr(route, "path")}
    pages = own - {path for _, path in OPERATIONS}
    assert pages == {"/docs", "/docs/program/{path}", "/openapi.json"}
    for router in (routes.router, versions.router, health.router):
        assert all(route.include_in_schema for route in router.routes)


async def test_a_refused_parameter_comes_before_a_wrong_body():
    """No event is read, counted or sent if the request is refused by its parameters."""
    answer = await answer_of("POST", "/v1/events/clicks?dry_run=true")
    assert (answer.status_code, answer.json()["field"]) == (422, "dry_run")
    assert "takes none" in answer.json()["detail"]


@pytest.mark.parametrize("query", [b"%FF=1", b"\xff=1", b"a%00b=1", b"="])
def test_names_of_any_bytes_are_refused(query: bytes):
    with pytest.raises(Problem, match="there is no such parameter"):
        refuse_unknown(query, {"limit"})


@pytest.mark.parametrize("query", [b"", b"&", b"limit=5", b"limit=5&limit=6", b"limit"])
def test_declared_parameters_and_empty_queries_pass(query: bytes):
    refuse_unknown(query, {"limit"})
