"""Addresses of Redis: one server, a group of servers behind sentinels, a cluster, or a Unix socket.

| address | Redis behind it |
|---|---|
| `redis://[[user]:password@]host[:6379][/db]` | one server, or a managed one behind one name |
| `unix://[[user]:password@]/path[?db=0]` | one server on this machine |
| `redis+sentinel://[[user]:password@]host[:26379],host…/service[/db]` | a master that sentinels name |
| `redis+cluster://[[user]:password@]host[:6379],host…` | a Redis Cluster, found from any of its nodes |

`rediss` in the place of `redis` is the same over TLS. A user and a password may have any character: they end at the
last `@`. Sequences such as `%40` stand for one character. Settings of their own (`CORRENTE_REDIS_PASSWORD`) are taken
literally and win over the address.

This file decides which addresses and options there are, and which parts are secret. It connects to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

Kind = Literal["server", "unix", "sentinel", "cluster"]

SCHEMES: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""Each scheme: the kind of Redis, and True for TLS."""

FORMS = (
    "redis://host:6379/0, rediss://… (TLS), unix:///path, redis+sentinel://host:26379,host:26379/service or "
    "redis+cluster://host:6379,host:6379"
)
DEFAULT_PORT, DEFAULT_SENTINEL_PORT = 6379, 26379

_HOST = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]*)(?::(?P<port>\d+))?")


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false", "yes", "no", "1", "0"}:
        raise ValueError("not true or false")
    return text.lower() in {"true", "yes", "1"}


def _protocol(text: str) -> int:
    if text not in {"2", "3"}:
        raise ValueError("not 2 or 3")
    return int(text)


OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "client_name": str,
    "db": int,
    "health_check_interval": float,
    "max_connections": int,
    "password": str,
    "protocol": _protocol,
    "sentinel_password": str,
    "sentinel_tls": _boolean,
    "sentinel_username": str,
    "socket_connect_timeout": float,
    "socket_keepalive": _boolean,
    "socket_timeout": float,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_cert_reqs": str,
    "ssl_certfile": str,
    "ssl_check_hostname": _boolean,
    "ssl_ciphers": str,
    "ssl_keyfile": str,
    "ssl_password": str,
    "username": str,
}
"""Options behind the `?` of an address, each with the reading of its value. Those of connections are named as in
redis-py."""


class WrongAddress(ValueError):
    """An address that can't be used. The text says what would be right, and has no part of a user or password."""


@dataclass(frozen=True)
class RedisAddress:
    """One Redis, and the way in.

    Attributes:
        kind: `server`, `unix`, `sentinel` or `cluster`.
        tls: True for TLS.
        hosts: host and port of the server, of the sentinels, or of some nodes of the cluster.
        path: of a Unix socket.
        service: the name under which sentinels know the master.
        db: number of the database.
        username, password: of Redis; empty if there is none.
        sentinel_username, sentinel_password: of the sentinels.
        sentinel_tls: True if sentinels are reached over TLS.
        options: further arguments of a connection of redis-py.
    """

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sentinel_username: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    sentinel_tls: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """The address without user, password and options, as it may be shown.

        >>> str(parse_redis_address("redis://me:secret@host/2")), str(parse_redis_address("unix://:secret@/run/redis"))
        ('redis://host:6379/2', 'unix:///run/redis')
        """
        if self.kind == "unix":
            return f"unix://{self.path}"
        scheme = ("rediss" if self.tls else "redis") + ("" if self.kind == "server" else f"+{self.kind}")
        hosts = ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts)
        behind = {"server": f"/{self.db}", "sentinel": f"/{self.service}/{self.db}", "cluster": ""}[self.kind]
        return f"{scheme}://{hosts}{behind}"


def parse_redis_address(
    url: str,
    *,
    username: str = "",
    password: str = "",
    sentinel_username: str = "",
    sentinel_password: str = "",
    ca_file: str = "",
    certificate_file: str = "",
    key_file: str = "",
) -> RedisAddress:
    """The Redis of an address; the other arguments, which are taken literally, win over their like in it.

    >>> address = parse_redis_address("redis+sentinel://me:p@ss/w#rd@one:1,two/shop/3")
    >>> address.hosts, address.service, address.db, address.password
    ((('one', 1), ('two', 26379)), 'shop', 3, 'p@ss/w#rd')
    >>> parse_redis_address("redis://:a%40b@h").password, parse_redis_address("redis://h", password="a%40b").password
    ('a@b', 'a%40b')

    Raises:
        WrongAddress: it is none, or the parts don't fit together.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise WrongAddress(f"a Redis address is {FORMS}")
    kind, tls = SCHEMES[scheme]
    user_part, _, place = rest.rpartition("@") if kind != "unix" or not rest.startswith("/") else ("", "", rest)
    place, _, query = place.partition("?")
    user, _, user_password = user_part.partition(":")
    options = _options(query)
    written = {"username": options.pop("username", ""), "password": options.pop("password", "")}
    files = {"ssl_ca_certs": ca_file, "ssl_certfile": certificate_file, "ssl_keyfile": key_file}
    options |= {name: path for name, path in files.items() if path}
    _check_tls(scheme, options, tls)
    common: dict[str, Any] = {
        "kind": kind,
        "tls": tls,
        "username": username or unquote(user) or written["username"],
        "password": password or unquote(user_password) or written["password"],
        "sentinel_username": sentinel_username or options.pop("sentinel_username", ""),
        "sentinel_password": sentinel_password or options.pop("sentinel_password", ""),
        "sentinel_tls": options.pop("sentinel_tls", tls),
    }
    common |= {"db": options.pop("db", 0), "options": options}
    if common["username"] and not common["password"]:
        raise WrongAddress("it has a user without a password: write user:password@, or :password@ without a user")
    if kind == "unix":
        if not place.startswith("/"):
            raise WrongAddress("the path of a Unix socket begins with /, as in unix:///run/redis.sock")
        return RedisAddress(path=unquote(place), **common)
    hosts, *path = place.split("/")
    default_port = DEFAULT_SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT
    found = tuple(_host_and_port(each, default_port) for each in hosts.split(","))
    if kind == "server" and len(found) > 1:
        raise WrongAddress("it has several hosts: write redis+sentinel://…/service or redis+cluster://…")
    path = [unquote(each) for each in path if each]
    if kind == "sentinel":
        if not path:
            raise WrongAddress("the name of the master is missing: redis+sentinel://host:26379/service")
        common["service"] = path.pop(0)
    if path and (kind == "cluster" and path != ["0"]):
        raise WrongAddress("a Redis Cluster has the database 0 alone; leave the number out")
    if path:
        if len(path) > 1 or not path[0].isdecimal():
            raise WrongAddress(f"{'/'.join(path)!r} is no number of a database. A Redis address is {FORMS}")
        common["db"] = int(path[0])
    return RedisAddress(hosts=found, **common)


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text.strip())
    if match is None or int(match["port"] or default_port) > 65_535:
        raise WrongAddress(
            "what follows the last @ is not host:port. A password with @ needs a host behind it, and in options @ is "
            f"written %40. A Redis address is {FORMS}"
        )
    return unquote(match["host"]).strip("[]") or "localhost", int(match["port"] or default_port)


def _options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            raise WrongAddress(f"it has the option {name!r}; there are {', '.join(sorted(OPTIONS))}")
        try:
            options[name] = OPTIONS[name](value)
        except ValueError as error:
            raise WrongAddress(f"its option {name}: {error}") from None
    return options


def _check_tls(scheme: str, options: Mapping[str, Any], tls: bool) -> None:
    for_tls = sorted(name for name in options if name.startswith("ssl_"))
    if for_tls and not tls:
        raise WrongAddress(f"{scheme}:// is not encrypted, and {for_tls[0]} is for TLS: write {_encrypted(scheme)}://")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise WrongAddress("it has a private key without a certificate: set CORRENTE_REDIS_CERTIFICATE_FILE too")


def _encrypted(scheme: str) -> str:
    return "rediss" if scheme == "unix" else scheme.replace("redis", "rediss", 1)
