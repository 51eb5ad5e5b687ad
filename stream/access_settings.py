"""Settings about access: who may call the HTTP server and how often, and with which key commands call it.

This file decides their names, defaults and limits, and the form of a key's text. They are a part of
`stream.settings.Settings`; what a key opens is decided in `stream.access`, and what a limit means in `serving.limits`
and `serving.web`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator

KEY_PREFIX = "corrente_"
"""Beginning of every key, by which people and scanners of repositories recognise one."""

KEY_FORM = re.compile(KEY_PREFIX + r"[0-9a-f]{64}")
"""A key in whole: its prefix and 256 random bits in hexadecimal."""

LEAST_TOKEN_LENGTH = 16


def check_key_text(text: str) -> str:
    """Return the text of a key as it is. The message of the error does not repeat it.

    >>> check_key_text("corrente_" + "5f" * 32) == "corrente_" + "5f" * 32
    True

    Raises:
        ValueError: no key has this form.
    """
    if not KEY_FORM.fullmatch(text):
        raise ValueError(
            f"this is no key: a key is {KEY_PREFIX!r} and 64 hexadecimal digits, as `corrente keys create` prints it, "
            'or printf corrente_%s "$(openssl rand -hex 32)"'
        )
    return text


class AccessSettings(BaseModel):
    """Settings about keys, as a part of all settings."""

    require_keys: bool = Field(
        False,
        description="Require a key for every call, also on loopback and before the first key is made: for a server "
        "behind a proxy on its own machine.",
    )
    first_key: SecretStr = Field(
        SecretStr(""),
        description="Text of a key with every scope, which a server makes at its start unless the model has it.",
    )
    keys_stale_seconds: Annotated[float, Field(ge=0)] = Field(
        300.0, description="Longest time for which keys go on reading and writing while Redis is away."
    )
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="Text that opens `/metrics` of servers beside keys, and that the worker's metrics then ask for: "
        "the file of a Prometheus.",
    )
    docs: bool = Field(True, description="Answer `/docs` and `/openapi.json`; off, both are 404.")
    api_key: SecretStr = Field(
        SecretStr(""), description="Key with which commands, such as `corrente replay`, call the HTTP server."
    )

    @field_validator("first_key", "api_key")
    @classmethod
    def _key_text(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            check_key_text(value.get_secret_value())
        return value

    @field_validator("metrics_token")
    @classmethod
    def _token_text(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and (len(text) < LEAST_TOKEN_LENGTH or not (text.isascii() and text.isprintable()) or " " in text):
            raise ValueError(
                f"a token has at least {LEAST_TOKEN_LENGTH} printable ASCII characters and no blank: take the output "
                "of `openssl rand -hex 32`"
            )
        return value


_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
"""Serialized origin as browsers send it (RFC 6454, section 6.2)."""


def origins_of(text: str) -> frozenset[str]:
    """The origins of a list that is separated by commas.

    >>> sorted(origins_of("https://shop.example, https://m.shop.example"))
    ['https://m.shop.example', 'https://shop.example']
    """
    return frozenset(each.strip() for each in text.split(",") if each.strip())


def check_origins(text: str) -> str:
    """Return a list of origins as it is.

    Raises:
        ValueError: one of them is no origin.
    """
    for origin in origins_of(text):
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin[:100]!r} is no origin of web pages: write it as https://shop.example, in small letters and "
                "without a path; several are separated by commas"
            )
    return text


class LimitSettings(BaseModel):
    """Settings about limits, as a part of all settings."""

    address_requests_per_second: Annotated[float, Field(ge=0, le=1e6)] = Field(
        100.0,
        description="Requests a second of one address that bring no key, or one for web pages; 0 for no limit. Callers "
        "of the server's own machine and keys of backends aren't limited by it.",
    )
    key_guesses_per_minute: Annotated[float, Field(ge=0, le=1e6)] = Field(
        20.0,
        description="Requests a minute of one address with a wrong key, after which the address has to wait; "
        "0 for no limit.",
    )
    max_batch_lists: Annotated[int, Field(ge=1, le=10_000)] = Field(
        500, description="Most lists that one call of `POST /v1/recommendations/batch` may ask for."
    )
    max_connections: Annotated[int, Field(ge=16, le=1_000_000)] = Field(
        8192,
        description="Connections of one server process. Beyond it those that have been silent for longest are closed.",
    )
    max_concurrent_requests: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1024,
        description="Requests that one server process answers at the same time, such as posts that wait for Kafka.",
    )
    max_waiting_requests: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        128,
        description="Requests that wait for one server process at once. Beyond it requests are refused with 503 until "
        "the process keeps up.",
    )
    cors_origins: Annotated[str, AfterValidator(check_origins)] = Field(
        "",
        description="Origins of web pages, separated by commas, whose scripts may read answers, such as "
        "`https://shop.example`.",
    )

    @property
    def page_origins(self) -> frozenset[str]:
        """The origins of `cors_origins`."""
        return origins_of(self.cors_origins)
