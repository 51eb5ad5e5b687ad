"""Tokens for OAUTHBEARER: from a token server, or from a function of one's own.

With client credentials, a token is asked of the token server as RFC 6749, section 4.4, says: `POST` with
`grant_type=client_credentials` and the client's id and secret in a Basic header. Every other way to a token (the
identity service of a cloud, for instance) is a Python function that `CORRENTE_KAFKA_SASL_OAUTH_PROVIDER` names.

This file decides how a token is asked for and how long it is used. One token serves every client of the process until
half of its lifetime has passed: a session with the broker ends with the token that began it.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from stream.settings import PREFIX, Settings, WrongSetting

if TYPE_CHECKING:
    import httpx

REQUEST_SECONDS = 4.0
"""Longest wait for the token server."""

DEFAULT_LIFETIME_SECONDS = 300.0
"""Lifetime of a token whose server doesn't say it; the member `expires_in` is only recommended."""

USED_SHARE = 0.5
"""Share of a token's lifetime for which new connections begin with it. The rest is the least length of a session."""


class TokenUnavailable(KafkaError):
    """No token could be had; the text says from where and why."""

    def __str__(self) -> str:
        """The text alone; aiokafka's errors put their class before it."""
        return str(self.args[0])


class Token(NamedTuple):
    """A token as a provider returns it.

    Attributes:
        value: the token itself, as it is sent to the broker.
        lifetime_seconds: time for which it is valid, from now on.
    """

    value: str
    lifetime_seconds: float


class SharedTokens(AbstractTokenProvider):
    """The token of a process, asked for again when it is old. Any thread and any event loop may ask.

    Args:
        fetch: asks for a new token; it may block.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, fetch: Callable[[], Token], now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._lock = threading.Lock()
        self._value = ""
        self._old_at = 0.0

    async def token(self) -> str:
        """The token to be sent with the next authentication.

        Raises:
            TokenUnavailable: there is none.
        """
        return await asyncio.to_thread(self._current)

    def _current(self) -> str:
        with self._lock:
            if not self._value or self._now() >= self._old_at:
                began = self._now()
                token = self._fetch()
                self._value = token.value
                self._old_at = began + USED_SHARE * token.lifetime_seconds
            return self._value


def token_provider(settings: Settings) -> SharedTokens:
    """The provider of these settings; the same one for every client of the process.

    Raises:
        WrongSetting: the function that a setting names can't be imported.
    """
    if settings.kafka_sasl_oauth_provider:
        return _own(settings.kafka_sasl_oauth_provider)
    return _client_credentials(
        settings.kafka_sasl_oauth_token_url,
        settings.kafka_sasl_oauth_client_id,
        settings.kafka_sasl_oauth_client_secret.get_secret_value(),
        settings.kafka_sasl_oauth_scope,
    )


@lru_cache(maxsize=8)
def _client_credentials(url: str, client: str, secret: str, scope: str) -> SharedTokens:
    return SharedTokens(lambda: ask_token_server(url, client, secret, scope))


@lru_cache(maxsize=8)
def _own(place: str) -> SharedTokens:
    name = f"{PREFIX}KAFKA_SASL_OAUTH_PROVIDER={place!r}"
    module, _, function = place.partition(":")
    try:
        fetch = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise WrongSetting(f"{name}: {error}. It is the module and the function, such as my_tokens:token") from None

    def token() -> Token:
        try:
            value, lifetime_seconds = fetch()
        except Exception as error:
            raise TokenUnavailable(f"the token provider {place} failed: {error!r}") from error
        return Token(value, float(lifetime_seconds))

    return SharedTokens(token)


def ask_token_server(url: str, client: str, secret: str, scope: str) -> Token:
    """Ask a token server for a token, with client credentials.

    Args:
        url: of its token endpoint.
        client, secret: of the client.
        scope: to be asked for; empty leaves it to the server.

    Raises:
        TokenUnavailable: it doesn't answer, refuses, or its answer has no token.
    """
    import httpx  # slow to import, and most processes need none

    form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
    try:  # id and secret are form-encoded within the header (RFC 6749, "Client Password")
        answer = httpx.post(
            url, data=form, auth=(quote(client, safe=""), quote(secret, safe="")), timeout=REQUEST_SECONDS
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TokenUnavailable(
            f"the token server {url} does not answer: {str(error) or type(error).__name__}. See that it runs, and "
            f"check {PREFIX}KAFKA_SASL_OAUTH_TOKEN_URL"
        ) from error
    if not answer.is_success:
        raise TokenUnavailable(
            f"the token server {url} refuses the client {client!r} with {answer.status_code} {_reason_in(answer)}: "
            f"check {PREFIX}KAFKA_SASL_OAUTH_CLIENT_ID and {PREFIX}KAFKA_SASL_OAUTH_CLIENT_SECRET"
        )
    try:
        found: dict[str, Any] = answer.json()
        return Token(str(found["access_token"]), float(found.get("expires_in") or DEFAULT_LIFETIME_SECONDS))
    except (ValueError, KeyError, TypeError) as error:
        raise TokenUnavailable(
            f"the answer of the token server {url} has no access_token: see that "
            f"{PREFIX}KAFKA_SASL_OAUTH_TOKEN_URL is its token endpoint"
        ) from error


def _reason_in(answer: httpx.Response) -> str:
    """The error that an answer names (RFC 6749, section 5.2), else the status in words."""
    try:
        return str(answer.json()["error"])[:100]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
