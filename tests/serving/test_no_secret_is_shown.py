"""No command and no page shows a password, whether it is the right one or not."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import httpx
import pytest
from typer.testing import CliRunner

from docs.generate.commands import found_commands
from serving.app import create_app
from stream.cli import app as corrente
from stream.settings import load_settings
from tests.connections.redis_side import PASSWORD, RedisSide, redis_side

WRONG = "an#ther/p@ss?word"
OF_REDIS = {"versions", "settings", "size"}
"""Commands that read settings or Redis, and end at once. `worker` and `serve` stay; their logs are read elsewhere."""


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSide]:
    with redis_side("password", tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(params=["right", "wrong", "away"])
def environment(side: RedisSide, request: pytest.FixtureRequest) -> dict[str, str]:
    given = {**side.environment, "CORRENTE_KAFKA": "127.0.0.1:1", "CORRENTE_REDIS_SENTINEL_PASSWORD": PASSWORD}
    if request.param == "wrong":
        given["CORRENTE_REDIS"] = given["CORRENTE_REDIS"].replace(PASSWORD, WRONG)
    if request.param == "away":
        given["CORRENTE_REDIS"] = given["CORRENTE_REDIS"].rsplit(":", 1)[0] + ":1/0"
    return given


def assert_no_secret(text: str, where: str) -> None:
    for secret in (PASSWORD, WRONG):
        for part in (secret, secret[-8:], secret[:8]):
            assert part not in text, f"{where} shows a password:\n{text}"


def test_no_command_shows_a_password(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = []
    for name, command in found_commands():
        words = name.split()[1:]
        if words[0] not in OF_REDIS:
            continue
        for parameter in command.params:
            if parameter.param_type_name == "argument" and parameter.required:
                words.append("100")
        result = CliRunner().invoke(corrente, words)
        assert_no_secret(result.output + caplog.text + str(result.exception or ""), name)
        ran.append(name)
    assert len(ran) >= 10


async def test_no_page_shows_a_password(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(load_settings(environment))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(app.router.lifespan_context(app))
        client = await running.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://corrente"))
        seen = 0
        for path, methods in {**app.openapi()["paths"], "/docs": ["get"], "/openapi.json": ["get"]}.items():
            for method in methods:
                answer = await client.request(
                    method, re.sub(r"\{\w+\}", "1", path), json={} if method == "post" else None
                )
                assert_no_secret(answer.text, f"{method} {path}")
                seen += 1
        assert seen >= 15
    assert_no_secret(caplog.text, "the log")
