"""Tokens for OAUTHBEARER: of a real token server, or of a function, and shared by the clients of a process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.servers import free_port
from stream.kafka.connection.tokens import USED_SHARE, SharedTokens, Token, TokenUnavailable, ask_token_server
from stream.kafka.connection.tokens import token_provider as provider_of
from stream.settings import Settings, WrongSetting
from tests.connections.kafka_side import PASSWORD, USER, TokenServer


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer(lifetime_seconds=100.0) as running:
        yield running


def test_a_token_is_asked_for_with_id_and_secret_of_any_characters(server: TokenServer) -> None:
    token = ask_token_server(server.url, USER, PASSWORD, "kafka")
    assert token == Token(server.token(USER), 100.0)


async def test_one_token_serves_all_clients_until_half_of_its_lifetime_has_passed() -> None:
    now, made = [0.0], iter(range(10))
    tokens = SharedTokens(lambda: Token(f"token {next(made)}", 100.0), lambda: now[0])
    assert set(await asyncio.gather(*(tokens.token() for _ in range(20)))) == {"token 0"}
    now[0] = 100.0 * USED_SHARE - 0.1
    assert await tokens.token() == "token 0"
    now[0] = 100.0 * USED_SHARE
    assert await tokens.token() == "token 1"


@pytest.mark.parametrize(
    ("client", "secret"), [(USER, "another"), ("another", PASSWORD)], ids=["wrong secret", "wrong client"]
)
def test_a_refused_client_is_named_and_its_secret_is_not(server: TokenServer, client: str, secret: str) -> None:
    with pytest.raises(TokenUnavailable) as refused:
        ask_token_server(server.url, client, secret, "")
    assert f"refuses the client {client!r} with 401 invalid_client" in str(refused.value)
    assert "CORRENTE_KAFKA_SASL_OAUTH_CLIENT_SECRET" in str(refused.value)
    assert secret not in str(refused.value).replace(client, "")


@pytest.mark.parametrize("url", [f"http://127.0.0.1:{free_port()}/token", "http://nowhere.invalid/token", "no url"])
def test_a_token_server_that_does_not_answer_is_named(url: str) -> None:
    with pytest.raises(TokenUnavailable, match=r"does not answer.*check CORRENTE_KAFKA_SASL_OAUTH_TOKEN_URL") as told:
        ask_token_server(url, USER, PASSWORD, "")
    assert url in str(told.value)


OWN = """
def token():
    return "own", 60

def failing():
    raise OSError("the identity service is away")
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_tokens_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_tokens_of_a_test"
    sys.modules.pop("my_tokens_of_a_test", None)


async def test_a_function_of_one_s_own_makes_tokens(own_module: str) -> None:
    assert await provider_of(settings_with(f"{own_module}:token")).token() == "own"


async def test_a_function_that_fails_is_named_with_its_reason(own_module: str) -> None:
    with pytest.raises(TokenUnavailable, match=r"my_tokens_of_a_test:failing failed: OSError.*is away"):
        await provider_of(settings_with(f"{own_module}:failing")).token()


@pytest.mark.parametrize("place", ["nowhere_at_all:token", "json:token", "json"])
def test_a_function_that_can_not_be_imported_is_a_wrong_setting(place: str) -> None:
    with pytest.raises(WrongSetting, match=r"CORRENTE_KAFKA_SASL_OAUTH_PROVIDER='.*It is the module and the function"):
        provider_of(settings_with(place))


def settings_with(provider: str) -> Settings:
    return Settings(
        kafka_security_protocol="SASL_SSL", kafka_sasl_mechanism="OAUTHBEARER", kafka_sasl_oauth_provider=provider
    )
