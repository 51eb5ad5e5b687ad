"""The arguments that every client of Kafka gets: addresses, encryption, authentication.

This file decides them from the settings. What else a client needs (acknowledgements, time limits, names) is decided
where it is made. The protocols and mechanisms are Kafka's own (https://kafka.apache.org/documentation/#security).
"""

from __future__ import annotations

from typing import Any

from stream.kafka.connection.sessions import install
from stream.kafka.connection.tls import tls_context
from stream.kafka.connection.tokens import token_provider
from stream.settings import Settings


def client_options(settings: Settings) -> dict[str, Any]:
    """Arguments for `AIOKafkaProducer`, `AIOKafkaConsumer`, `AIOKafkaAdminClient` and `AIOKafkaClient`.

    Clients of one process share certificates and tokens. From the first call on, connections of all clients of aiokafka
    are renewed before the broker ends their sessions (`stream.kafka.connection.sessions`).

    Raises:
        WrongSetting: a certificate or key can't be read, or the token provider can't be imported.

    >>> client_options(Settings(kafka="a:9092,b:9092"))
    {'bootstrap_servers': ['a:9092', 'b:9092'], 'security_protocol': 'PLAINTEXT'}
    """
    install()
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.kafka.split(",")],
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = token_provider(settings)
        else:
            options["sasl_plain_username"] = settings.kafka_sasl_username
            options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options
