"""The server that has a model: the master that sentinels name, or the node of a cluster that owns the model's slot.

Sentinels are asked one after the other, in the order of the address, until one knows the master; the connection then
checks that the server says so itself, because a sentinel may be late [1]. A cluster's nodes are asked in the same way
for the map of slots.

This file decides who is asked, in which order, and what is said if no answer helps.

[1] https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from stream.configuration.redis_address import RedisAddress

Host = tuple[str, int]

ASK_SECONDS = 1.0
"""Longest wait for one sentinel or node; the next one is asked then."""


class Discovery(Protocol):
    """Finds the server of a model, and checks it once it is connected."""

    def find(self) -> Host:
        """Host and port of the server. Raises `redis.exceptions.ConnectionError` if no answer helps."""

    def check(self, connection: Any) -> None:
        """Raises `redis.exceptions.ConnectionError` if a fresh connection is to another kind of server."""


def discovery_of(address: RedisAddress, timeout_seconds: float, prefix: str) -> Discovery | None:
    """The discovery that an address needs; None if its host is the server.

    Args:
        address: of Redis.
        timeout_seconds: longest wait for a connection to Redis.
        prefix: of the model's keys, with their hash tag.
    """
    seconds = min(timeout_seconds, ASK_SECONDS)
    if address.kind == "sentinel":
        return _Sentinels(address, seconds)
    if address.kind == "cluster":
        return _ClusterNodes(address, seconds, key_slot(prefix.encode()))
    return None


class _Asked:
    """Hosts that are asked one after the other; one that helped is asked first the next time."""

    credentials = "CORRENTE_REDIS"
    """Beginning of the settings with the user and password for these hosts."""

    def __init__(self, address: RedisAddress, options: dict[str, Any]) -> None:
        self.address = address
        self._hosts = list(address.hosts)
        self._options = {"protocol": 2, "retry": Retry(NoBackoff(), 0), **options}
        self._lock = threading.Lock()

    def first_answer(self, ask: Callable[[Any, Host], Host | None], unknown: str) -> Host:
        problems = []
        with self._lock:
            hosts = list(self._hosts)
        for host in hosts:
            try:
                with redis.Redis(host=host[0], port=host[1], **self._options) as client:
                    found = ask(client, host)
            except AuthenticationError as error:
                problems.append(
                    f"{_shown(host)} refuses the password: {str(error).rstrip('.')} "
                    f"({self.credentials}_USERNAME and {self.credentials}_PASSWORD)"
                )
            except (RedisError, OSError) as error:
                problems.append(f"{_shown(host)}: {error}")
            else:
                if found is not None:
                    self.prefer(host)
                    return found
                problems.append(f"{_shown(host)} {unknown}")
        raise RedisConnectionError(f"{self.address}: {'; '.join(problems)}")

    def prefer(self, host: Host, *further: Host) -> None:
        """Ask this host first the next time, and these too."""
        with self._lock:
            self._hosts = list(dict.fromkeys((host, *self._hosts, *further)))

    def postpone_first(self) -> None:
        with self._lock:
            self._hosts.append(self._hosts.pop(0))


def _options_of(address: RedisAddress, seconds: float, *, tls: bool) -> dict[str, Any]:
    """Arguments of a short-lived client: those of TLS are the same as for Redis itself."""
    options = {name: value for name, value in address.options.items() if name.startswith("ssl_")} if tls else {}
    return {**options, "ssl": tls, "socket_timeout": seconds, "socket_connect_timeout": seconds}


class _Sentinels(_Asked):
    credentials = "CORRENTE_REDIS_SENTINEL"

    def __init__(self, address: RedisAddress, seconds: float) -> None:
        options = _options_of(address, seconds, tls=address.sentinel_tls)
        options |= {"username": address.sentinel_username or None, "password": address.sentinel_password or None}
        super().__init__(address, options)

    def find(self) -> Host:
        """Host and port of the master."""
        return self.first_answer(self._ask, f"is a sentinel that knows no master called {self.address.service!r}")

    def _ask(self, client: Any, _: Host) -> Host | None:
        found = client.execute_command("SENTINEL", "get-master-addr-by-name", self.address.service)
        return None if found is None else (found[0].decode(), int(found[1]))

    def check(self, connection: Any) -> None:
        """Raises `redis.exceptions.ConnectionError` if the server says that it is a replica."""
        connection.send_command("ROLE", check_health=False)
        try:
            role = connection.read_response()[0]
        except NoPermissionError:
            return  # a write will say so
        if role != b"master":
            self.postpone_first()
            raise RedisConnectionError(
                f"{self.address}: {_shown((connection.host, connection.port))} is not the master yet; the sentinels "
                "are asked again"
            )


class _ClusterNodes(_Asked):
    def __init__(self, address: RedisAddress, seconds: float, slot: int) -> None:
        options = _options_of(address, seconds, tls=address.tls)
        super().__init__(
            address, {**options, "username": address.username or None, "password": address.password or None}
        )
        self._slot = slot

    def find(self) -> Host:
        """Host and port of the node that owns the model's slot."""
        return self.first_answer(self._ask, f"says that no node of its cluster owns slot {self._slot}")

    def _ask(self, client: Any, asked: Host) -> Host | None:
        try:
            ranges = client.execute_command("CLUSTER", "SLOTS")
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                raise RedisConnectionError("it is no node of a cluster; write redis:// in CORRENTE_REDIS") from error
            raise
        owner = None
        for first, last, (name, port, *_), *_ in ranges:
            # A node that was not given its own name leaves it out: it is the one that was asked.
            host = (name.decode() if name not in (None, b"", b"?") else asked[0], int(port))
            self.prefer(asked, host)
            if first <= self._slot <= last:
                owner = host
        return owner

    def check(self, connection: Any) -> None:
        """A wrong node says so itself, with the first command."""


def _shown(host: Host) -> str:
    return f"[{host[0]}]:{host[1]}" if ":" in host[0] else f"{host[0]}:{host[1]}"
