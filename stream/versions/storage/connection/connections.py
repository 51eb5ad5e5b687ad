"""Connections that find the right server when they are opened, and leave it when it says that it is not.

A server that was the master until now answers READONLY, a cluster's node that no longer has the model answers MOVED.
The connection is closed then, and the error is one of the connection: redis-py opens another one and sends the command
again, once, and the caller's own handling of a Redis that is away does the rest. No command was carried out in these
cases, and a script that meets READONLY has written nothing, because its first write is what is refused.

ASK and TRYAGAIN, which a cluster's node answers while it hands a slot over, are treated in the same way and are not
followed: the other node has a part of the model's keys only, and a script that ran there would take the others for
missing. Nothing is published or read until the slot has moved as a whole.

This file decides which answers mean that another server has to be asked, and the hints in errors of connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from stream.versions.storage.connection.discovery import Discovery

CREDENTIALS = "CORRENTE_REDIS_USERNAME and CORRENTE_REDIS_PASSWORD, or the address, have to be those of Redis"
NO_CERTIFICATE = "If it asks for a certificate of the client, set CORRENTE_REDIS_CERTIFICATE_FILE"

_HANDED_OVER = "the cluster hands the model over to another node; it is asked again until that is done"
_REASONS: Mapping[str, tuple[type[ResponseError], str]] = {
    "READONLY": (ReadOnlyError, "it is a replica now and takes no writes; the master is asked for again"),
    "MASTERDOWN": (MasterDownError, "it is a replica without its master; the master is asked for again"),
    "CLUSTERDOWN": (ClusterDownError, "its cluster is down"),
    "TRYAGAIN": (TryAgainError, _HANDED_OVER),
    "MOVED": (MovedError, "the model is on another node of the cluster now"),
    "ASK": (AskError, _HANDED_OVER),
}
"""The first word of each answer that means that another server has to be asked, its error in redis-py, and a reason.
Errors stand before those that they are derived from."""


def other_server(error: ResponseError, address: str) -> RedisConnectionError | None:
    """The error of the connection that an answer stands for, if it says that another server has to be asked.

    >>> print(other_server(ReadOnlyError("You can't write against a read only replica."), "redis://h:1/0"))
    redis://h:1/0: it is a replica now and takes no writes; the master is asked for again
    >>> other_server(ResponseError("WRONGTYPE Operation against a key"), "redis://h:1/0")
    """
    text = str(error)
    for word, (kind, reason) in _REASONS.items():
        # Redis 6 puts the error of a command in a script behind an error of its own.
        if isinstance(error, kind) or text.startswith(f"{word} ") or f"-{word} " in text:
            if word == "MOVED" and "+cluster://" not in address:
                reason = "it is a node of a Redis Cluster: write redis+cluster://… in CORRENTE_REDIS"
            return RedisConnectionError(f"{address}: {reason}")
    return None


class _FindingConnection:
    """The part that the three kinds of connections share.

    Args:
        address: for messages; without secrets.
        discovery: finds the server when the connection is opened; None if host and port are those of the address.
    """

    def __init__(self, *, address: str, discovery: Discovery | None = None, **options: Any) -> None:
        self._address = address
        self._discovery = discovery
        super().__init__(**options)

    def _connect(self) -> Any:
        if self._discovery is not None:
            self.host, self.port = self._discovery.find()
        try:
            return super()._connect()  # type: ignore[misc]  # of redis-py's connection, beside which this class stands
        except ssl.SSLError as error:
            raise RedisConnectionError(f"{self._address}: {_tls_hint(error)}") from error

    def on_connect_check_health(self, check_health: bool = True) -> None:
        try:
            super().on_connect_check_health(check_health=check_health)  # type: ignore[misc]
        except AuthenticationError as error:
            raise AuthenticationError(f"{self._address}: {str(error).rstrip('.')}. {CREDENTIALS}") from None
        except RedisConnectionError as error:
            # With TLS 1.3 a missing certificate shows after the handshake, often as nothing but a closed connection.
            if getattr(self, "certfile", "plain") is not None or isinstance(error, BusyLoadingError):
                raise
            raise RedisConnectionError(f"{self._address}: {str(error).rstrip('.')}. {NO_CERTIFICATE}") from error
        if self._discovery is not None:
            self._discovery.check(self)

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except ResponseError as error:
            if (changed := other_server(error, self._address)) is None:
                raise
            self.disconnect()  # type: ignore[attr-defined]
            raise changed from error

    def other_server(self, error: ResponseError) -> RedisConnectionError | None:
        """The error of the connection that an answer stands for (see the function)."""
        return other_server(error, self._address)


def _tls_hint(error: ssl.SSLError) -> str:
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message}. Name the certificate of the authority in "
            "CORRENTE_REDIS_CA_FILE, and write the host name that the certificate has"
        )
    if "certificate required" in text:
        return f"{text}. {NO_CERTIFICATE}"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
        return "it does not speak TLS on this port. Write redis:// in the place of rediss://, or another port"
    if "KEY_VALUES_MISMATCH" in text or "PEM" in text:
        return f"the certificate of the client can't be used: {text}"
    return f"TLS failed: {text}"


class StoreConnection(_FindingConnection, Connection):
    """Plain TCP."""


class StoreTlsConnection(_FindingConnection, SSLConnection):
    """TLS. The certificate has to be that of the host that is connected to."""


class StoreUnixConnection(_FindingConnection, UnixDomainSocketConnection):
    """A Unix socket."""
