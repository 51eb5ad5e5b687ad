"""Settings about keys: who may call the HTTP server, and with which key commands call it.

This file decides their names, defaults and limits, and the form of a key's text. They are a part of
`stream.settings.Settings`; what a key opens is decided in `stream.access`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator

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
