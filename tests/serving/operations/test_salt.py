"""No answer over HTTP has the visitor salt, not even if a manifest of release 0.1 has it, and no byte in Redis."""

from __future__ import annotations

import json
import re

import pytest

from docs.generate.http_examples import recorded
from serving.app import Server
from stream.versions.salt import salt_digest
from tests.serving.awaiting import served_version
from tests.serving.conftest import MODEL, Publisher, RedisServer, running, settings_for
from tests.stream.versions.redis_bytes import every_byte
from tests.stream.versions.release_0_1 import MODEL as OLD_MODEL
from tests.stream.versions.release_0_1 import fixture, restore

SALT = "a salt of this test, 0123456789"
VALUES = {"user": "u", "item": "a", "version": "1", "a": "1", "b": "latest"}


def documented_pages(document: dict, values: dict[str, str]) -> list[str]:
    """The address of every GET route, with these values in its path."""
    paths = [path for path, methods in document["paths"].items() if "get" in methods]
    return [re.sub(r"{(\w+)}", lambda found: values[found[1]], path) for path in paths]


async def every_answer(client, values: dict[str, str]) -> dict[str, tuple[int, str]]:
    """Status, headers and body of every GET route, of pages that are in no document, and of some errors."""
    document = (await client.get("/openapi.json")).json()
    pages = [
        *documented_pages(document, values),
        "/openapi.json",
        "/docs",
        "/v1/versions/99",
        "/v1/versions/latest?x=1",
    ]
    pages += ["/v1/recommendations/u?version=99", "/v1/recommendations/u?n=wrong", "/nothing"]
    answers = {}
    for page in pages:
        answer = await client.get(page)
        answers[page] = (answer.status_code, f"{answer.headers} {answer.text}")
    return answers


def salted(settings, salt: str, **more):
    return settings.model_copy(update={"model": MODEL.model_copy(update={"visitor_salt": salt}), **more})


async def every_written_answer(client) -> dict[str, str]:
    """Headers and body of every route that takes something or changes something, by the requests of the reference."""
    document = (await client.get("/openapi.json")).json()
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    answers = {}
    for example in recorded():
        if example["method"] == "GET" or not example["route"]:
            continue
        body = None if example["body"] is None else json.dumps(example["body"])
        headers = {"content-type": "application/json"} if example["json"] else {}
        answer = await client.request(example["method"], example["path"], content=body, headers=headers)
        no_kafka = answer.status_code == 503 and example["route"].startswith("POST /v1/events/")
        assert answer.status_code == example["status"] or no_kafka, (example["route"], answer.text)
        answers[example["route"]] = f"{answers.get(example['route'], '')} {answer.headers} {answer.text}"
    assert set(answers) == {route for route in routes if not route.startswith("GET ")}
    return answers


async def test_no_answer_has_the_salt(redis_server: RedisServer, store):
    publisher = Publisher(store, MODEL.model_copy(update={"visitor_salt": SALT}))
    publisher.learn(("u", "a"), ("v", "b"))
    latest = publisher.learn(("u", "b"))
    async with running(salted(settings_for(redis_server), SALT)) as (_, client):
        await served_version(client, latest.number)
        answers = await every_answer(client, VALUES)
        recommended = await client.get("/v1/recommendations/u")
        written = await every_written_answer(client)
    assert recommended.json()["fallback"] is None, "the visitor is recognised: the server hashes with the salt"
    assert [route for route, text in written.items() if SALT in text] == []
    stored = every_byte(redis_server.client)
    assert any(b"Garden spade" in value for value in stored), "the catalogue is among what was searched"
    assert any(salt_digest(SALT).encode() in value for value in stored), "and manifests"
    assert [value for value in stored if SALT.encode() in value] == []
    assert salt_digest(SALT) in answers["/v1/versions/1"][1]
    assert {page: status for page, (status, _) in answers.items() if status >= 500} == {}
    assert [page for page, (_, text) in answers.items() if SALT in text] == []
    assert len(answers) >= 16


async def test_no_answer_has_the_salt_of_a_manifest_of_release_0_1(redis_server: RedisServer):
    restore(redis_server.client)
    old_salt = fixture()["salt"]
    assert any(
        old_salt.encode() in redis_server.client.hget(key, "manifest")
        for key in redis_server.client.scan_iter("*:version:*")
    )
    async with running(salted(settings_for(redis_server), SALT, model_name=OLD_MODEL)) as (_, client):
        await served_version(client, 7)
        answers = await every_answer(client, {**VALUES, "user": "u4", "item": "item 3", "version": "7", "a": "7"})
        recommended = await client.get("/v1/recommendations/u4")
    assert recommended.json()["fallback"] is None, "the visitor is recognised by the salt that the manifest carries"
    assert salt_digest(old_salt) in answers["/v1/versions/7"][1]
    assert {page: status for page, (status, _) in answers.items() if status >= 500} == {}
    assert [page for page, (_, text) in answers.items() if old_salt in text or SALT in text] == []


@pytest.mark.parametrize("salt", ["another salt of this test, 9876", "corrente"])
async def test_a_server_with_another_salt_says_which_setting_to_correct(redis_server: RedisServer, store, salt: str):
    Publisher(store, MODEL.model_copy(update={"visitor_salt": SALT})).learn(("u", "a"))
    app: Server
    async with running(salted(settings_for(redis_server), salt)) as (app, client):
        await app.state.loader.caught_up()
        health = await client.get("/health/ready")
        answers = await every_answer(client, VALUES)
    assert "CORRENTE_MODEL__VISITOR_SALT" in health.json()["problem"]
    assert [page for page, (_, text) in answers.items() if SALT in text] == []
