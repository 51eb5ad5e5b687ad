"""Pages for people and machines: metrics, the OpenAPI document, the page of routes."""

from __future__ import annotations

import re

import jsonschema

from tests.serving.awaiting import served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for

ROUTES = {
    ("post", "/v1/events/clicks"),
    ("post", "/v1/events/purchases"),
    ("post", "/v1/events/feedback"),
    ("get", "/v1/recommendations/{user}"),
    ("post", "/v1/recommendations"),
    ("post", "/v1/recommendations/batch"),
    ("post", "/v1/rerank"),
    ("get", "/v1/users/{user}/recently-viewed"),
    ("get", "/v1/new-arrivals"),
    ("get", "/v1/items/{item}/similar"),
    ("get", "/v1/items/{item}/bought-together"),
    ("put", "/v1/items"),
    ("get", "/v1/items"),
    *((method, "/v1/items/{item}") for method in ("put", "patch", "get", "delete")),
    ("get", "/v1/users"),
    *((method, "/v1/users/{user}") for method in ("put", "patch", "get", "delete")),
    ("get", "/v1/popular"),
    ("get", "/v1/trending"),
    ("get", "/v1/transparency"),
    ("get", "/v1/transparency/page"),
    ("get", "/v1/versions"),
    ("get", "/v1/versions/{version}"),
    ("get", "/v1/versions/{a}/diff/{b}"),
    ("post", "/v1/versions/{version}/rollback"),
    ("delete", "/v1/pin"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
}


async def test_every_route_is_documented(redis_server: RedisServer):
    async with running(settings_for(redis_server)) as (_, client):
        document = (await client.get("/openapi.json")).json()
        page = await client.get("/docs")
        files = [await client.get(path) for path in re.findall(r'(?:href|src)="([^"]+)"', page.text)]
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == ROUTES
    assert page.headers["content-type"].startswith("text/html")
    assert "https://" not in page.text  # readable without an internet connection
    assert [file.status_code for file in files] == [200, 200, 200]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["responses"]


async def test_answers_have_the_documented_shape(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(("u", "a"), ("v", "b"))
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        document = (await client.get("/openapi.json")).json()
        for path, shape in [
            ("/v1/recommendations/u", "Recommendations"),
            ("/v1/versions", "VersionList"),
            ("/v1/transparency", "Transparency"),
            ("/health/ready", "Health"),
            ("/v1/versions/99", "ProblemDetails"),
        ]:
            answer = (await client.get(path)).json()
            schema = {"$ref": f"#/components/schemas/{shape}", "components": document["components"]}
            jsonschema.validate(answer, schema)
            known = document["components"]["schemas"][shape]["properties"]
            assert set(answer) <= set(known)


async def test_requests_and_answers_are_counted_by_route_not_by_id(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(("u", "a"), ("v", "b"))
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        for user in ["u", "v", "a%2Fb"]:
            await client.get(f"/v1/recommendations/{user}")
        await client.get("/v1/recommendations/u?n=0")
        await client.get("/nothing/like/this")
        text = (await client.get("/metrics")).text
    route = 'method="GET",route="/v1/recommendations/{user}"'
    assert f'corrente_http_requests_total{{{route},status="200"}} 3.0' in text
    assert f'corrente_http_requests_total{{{route},status="422"}} 1.0' in text
    assert 'corrente_http_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert f"corrente_served_version {version.number:.1f}" in text
    assert 'corrente_answers_total{fallback="personal"} 2.0' in text
    assert 'corrente_dependency_up{dependency="redis"} 1.0' in text
    assert 'corrente_dependency_up{dependency="kafka"} 0.0' in text
    assert 'corrente_version_loads_total{how="whole"} 1.0' in text
