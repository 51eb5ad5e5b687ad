"""Settings of the topics of documents, and rules for the settings of connections to Kafka.

This file decides the names of the topics of documents, which settings of connections make sense together, how a
protocol in an address is read, and what is said of the others. A password that is set and not used would be as bad as
none: the connection would not be the one that was meant. The settings of connections are defined in `stream.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, field_validator

from stream.setting_checks import check_topic

PREFIX = "CORRENTE_KAFKA_"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

_TLS = ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", "ssl_key_password")
_PASSWORD = ("sasl_username", "sasl_password")
_CLIENT = ("sasl_oauth_token_url", "sasl_oauth_client_id", "sasl_oauth_client_secret")
_OAUTH = (*_CLIENT, "sasl_oauth_scope", "sasl_oauth_provider")


class DocumentTopicSettings(BaseModel):
    """Topics of documents of the catalogue, as a part of all settings."""

    items_topic: str = Field(
        "items",
        description="Compacted topic with documents of items, which a worker reads if it is there. Empty: none.",
    )
    users_topic: str = Field(
        "users",
        description="Compacted topic with documents of users, which a worker reads if it is there. Empty: none.",
    )

    @field_validator("items_topic", "users_topic")
    @classmethod
    def _document_topic(cls, value: str) -> str:
        return check_topic(value) if value else value

    @property
    def document_topics(self) -> dict[str, str]:
        """Our name of each topic of documents that is read to its name in Kafka."""
        return {ours: name for ours, name in (("items", self.items_topic), ("users", self.users_topic)) if name}


def with_protocol(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of settings, with a protocol that the addresses name moved to the setting for it.

    Args:
        values: by the setting's name in lower case. Nothing is asked of them but what is looked at here.

    Raises:
        ValueError: addresses name two protocols, another one than the setting, or one that Kafka doesn't have.

    >>> with_protocol({"kafka": "SASL_SSL://a:9093,b:9093"})
    {'kafka': 'a:9093,b:9093', 'kafka_security_protocol': 'SASL_SSL'}
    """
    read = dict(values)
    for name in ("kafka_security_protocol", "kafka_sasl_mechanism"):
        if isinstance(read.get(name), str):
            read[name] = read[name].strip().upper()
    servers = read.get("kafka")
    if not isinstance(servers, str) or "://" not in servers:
        return read
    parts = [server.strip().rpartition("://") for server in servers.split(",")]
    named = {protocol.upper() for protocol, _, _ in parts if protocol}
    if wrong := sorted(named - set(PROTOCOLS)):
        raise ValueError(
            f"CORRENTE_KAFKA={servers!r}: {wrong[0]}:// is no protocol of Kafka. Write host:port, or one of "
            f"{', '.join(f'{each}://host:port' for each in PROTOCOLS)}"
        )
    if len(named) > 1:
        raise ValueError(
            f"CORRENTE_KAFKA={servers!r}: one client speaks one protocol, and these are {' and '.join(sorted(named))}"
        )
    protocol = named.pop()
    if (given := read.get("kafka_security_protocol", protocol)) != protocol:
        raise ValueError(
            f"CORRENTE_KAFKA={servers!r} and {PREFIX}SECURITY_PROTOCOL={given!r} name two protocols: leave one of them "
            "out"
        )
    read["kafka_security_protocol"] = protocol
    read["kafka"] = ",".join(address.rstrip("/") for _, _, address in parts)
    return read


def check_servers(value: str) -> None:
    """Refuse bootstrap servers that aren't `host:port`, separated by commas.

    Raises:
        ValueError: one of them isn't; the text says which.
    """
    for server in value.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{server!r} is not host:port, such as localhost:9092")


def security_problem(settings: Mapping[str, Any]) -> str | None:
    """The reason why settings of security make no sense together, and what would be right; None if they do.

    >>> security_problem({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN"})
    'CORRENTE_KAFKA_SASL_USERNAME is not set, and PLAIN needs it'
    """
    given = {name.removeprefix("kafka_") for name, value in settings.items() if name.startswith("kafka_") and value}
    protocol, mechanism = settings["kafka_security_protocol"], settings["kafka_sasl_mechanism"]
    tls, sasl = protocol.endswith("SSL"), protocol.startswith("SASL")
    if not tls and (unused := _first(_TLS, given)):
        secure = "SASL_SSL" if sasl else "SSL"
        return f"{unused} is set, and {protocol} has no TLS: set {PREFIX}SECURITY_PROTOCOL={secure}, or leave it out"
    if not sasl and (unused := _first((*_PASSWORD, *_OAUTH), given)):
        secure = "SASL_SSL" if tls else "SASL_PLAINTEXT or SASL_SSL"
        return f"{unused} is set, and {protocol} has no SASL: set {PREFIX}SECURITY_PROTOCOL={secure}, or leave it out"
    if "ssl_key_location" in given and "ssl_certificate_location" not in given:
        return f"{_name('ssl_certificate_location')} is not set, and {_name('ssl_key_location')} needs it"
    return _sasl_problem(mechanism, given) if sasl else None


def _sasl_problem(mechanism: str, given: set[str]) -> str | None:
    oauth = mechanism == "OAUTHBEARER"
    if unused := _first(_PASSWORD if oauth else _OAUTH, given):
        return (
            f"{unused} is set, and {mechanism} doesn't use it: set another {_name('sasl_mechanism')}, or leave it out"
        )
    if not oauth:
        missing = _first(_PASSWORD, set(_PASSWORD) - given)
        return f"{missing} is not set, and {mechanism} needs it" if missing else None
    if "sasl_oauth_provider" in given:
        unused = _first((*_CLIENT, "sasl_oauth_scope"), given)
        return (
            f"{unused} and {_name('sasl_oauth_provider')} are both set: tokens come from one of them"
            if unused
            else None
        )
    missing = _first(_CLIENT, set(_CLIENT) - given)
    return f"{missing} is not set, and OAUTHBEARER needs it, or {_name('sasl_oauth_provider')}" if missing else None


def _first(names: tuple[str, ...], among: set[str]) -> str | None:
    """The variable of the first of these settings that is among others."""
    return next((_name(name) for name in names if name in among), None)


def _name(setting: str) -> str:
    return PREFIX + setting.upper()
