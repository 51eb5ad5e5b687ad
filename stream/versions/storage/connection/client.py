"""Clients of redis-py, for every kind of Redis that an address can name, for workers, servers and commands.

All keys of a model share one hash tag, so in a cluster they lie on one node. A client of a cluster is therefore a
client of that node, as a client of sentinels is one of the master: a connection asks for the server when it is opened.
Scripts, pipelines, subscriptions and `mget_into` need no second way.

This file decides the options of every client. `connections` decides which answers send it to another server.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream.configuration.redis_address import RedisAddress, parse_redis_address
from stream.versions.storage.connection.connections import (
    StoreConnection,
    StoreTlsConnection,
    StoreUnixConnection,
)
from stream.versions.storage.connection.discovery import discovery_of
from stream.versions.storage.keys import Keys

PROTOCOL = 2
"""Version of Redis's protocol, unless the address has another one. Version 3 adds pushes, which managed servers send
during maintenance, and nothing here needs them; proxies often know version 2 alone."""


def connect(address: str | RedisAddress, timeout_seconds: float, model: str) -> redis.Redis:
    """A client for a model. It connects when it is first used.

    A broken connection is replaced once and at once, by one to the server that is the right one then; whether to wait
    for a Redis that is away is the caller's decision, so the client doesn't.

    Args:
        address: as text, or with its credentials.
        timeout_seconds: longest wait for a connection and for an answer, unless the address says otherwise.
        model: name of the model; in a cluster it decides the node.

    Raises:
        WrongAddress: the text is no address.
    """
    given = parse_redis_address(address) if isinstance(address, str) else address
    options: dict[str, Any] = {
        "protocol": PROTOCOL,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        **given.options,
        "db": given.db,
        "username": given.username or None,
        "password": given.password or None,
        "retry": Retry(NoBackoff(), 1),
        "address": str(given),
    }
    if given.kind == "unix":
        options |= {"connection_class": StoreUnixConnection, "path": given.path}
    else:
        host, port = given.hosts[0]
        options |= {"connection_class": StoreTlsConnection if given.tls else StoreConnection}
        options |= {"host": host, "port": port, "discovery": discovery_of(given, timeout_seconds, Keys(model).prefix)}
    return redis.Redis.from_pool(redis.ConnectionPool(**options))
