"""Addresses and security of Kafka in the form in which Faust takes them.

Faust makes the worker's consumer itself, and wants an object of another class for each way of authentication.

This file decides the class; everything that is in the object comes from `stream.kafka.connection.options`.
"""

from __future__ import annotations

from typing import Any

from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials

from stream.kafka.connection.options import client_options
from stream.settings import Settings


def faust_settings(settings: Settings) -> dict[str, Any]:
    """Faust's settings `broker` and `broker_credentials`.

    Raises:
        WrongSetting: as `client_options` does.
    """
    options = client_options(settings)
    context = options.get("ssl_context")
    credentials: Any = SSLCredentials(context) if context is not None else None
    if "sasl_oauth_token_provider" in options:
        credentials = OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context)
    elif "sasl_mechanism" in options:
        credentials = SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return {
        "broker": [f"kafka://{server}" for server in options["bootstrap_servers"]],
        "broker_credentials": credentials,
    }
