"""Query parameters that a route doesn't have are refused by every route, and named."""

from __future__ import annotations

import re

import httpx
import pytest

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
