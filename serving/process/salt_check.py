"""Check of the visitor salt at the start: it has to be a secret before other machines can reach the server.

A visitor's row is found under a hash of their id and the salt. With a short or well-known salt, anyone who can read
versions could find out by trying whether a person they know is in them.

This file decides with which salt a server starts: a weak one is refused if the server binds an address beyond loopback,
and logged as one warning otherwise. The strength that a salt needs is decided by `stream.versions.salt`.
"""

from __future__ import annotations

import ipaddress
import socket

import structlog

from stream.settings import WrongSetting
from stream.versions.salt import salt_problem

log = structlog.get_logger(__name__)


def require_strong_salt(listening: socket.socket, salt: str) -> None:
    """Refuse a weak salt on a socket that other machines can reach; warn about it on any other.

    Args:
        listening: bound socket.
        salt: of visitors' hashes.

    Raises:
        WrongSetting: the salt is weak and the address is beyond loopback. The salt itself is not in the message.
    """
    problem = salt_problem(salt)
    if problem is None:
        return
    if is_loopback(listening):
        log.warning("weak visitor salt", problem=problem)
        return
    raise WrongSetting(
        f"{problem}. Other machines can reach this server at {listening.getsockname()[0]}; with this salt it starts on "
        "loopback only (CORRENTE_HOST=127.0.0.1)"
    )


def is_loopback(listening: socket.socket) -> bool:
    """True if only processes of this machine can connect to a bound socket: 127.0.0.0/8, ::1 or a Unix socket.

    The bound address is judged, not the name that was configured, so `localhost` is whatever it resolves to.

    >>> with socket.socket() as listening:
    ...     listening.bind(("127.0.0.1", 0))
    ...     is_loopback(listening)
    True
    """
    if listening.family not in {socket.AF_INET, socket.AF_INET6}:
        return True
    address = ipaddress.ip_address(listening.getsockname()[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
