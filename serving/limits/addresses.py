"""Addresses of callers: whose request it is, and which of them count as one.

A proxy on the list of trusted ones names its caller in `X-Forwarded-For`; uvicorn's rules are followed, so that
this and the address in the audit trail are the same. An IPv6 network of 64 bits counts as one address, because a site
gets such a network at least (RFC 6177) and one caller may use all its addresses.

This file decides which address a request counts for. Callers of the server's own machine aren't limited by address.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from serving.web.body import Headers

FORWARDED = b"x-forwarded-for"


async def _no_application(*_: Any) -> None:
    """Stand in for an application: only the rules of the middleware are used."""


class CallerAddresses:
    """Addresses behind trusted proxies.

    Args:
        trusted: addresses and networks of proxies, separated by commas; `*` trusts everyone.
    """

    def __init__(self, trusted: str) -> None:
        self._trusted = ProxyHeadersMiddleware(_no_application, trusted_hosts=trusted).trusted_hosts
        self._trusts_peer = lru_cache(maxsize=4096)(self._trusted.__contains__)  # it parses an address each time

    def behind(self, peer: str, headers: Headers) -> str:
        """Address of the caller of a request.

        Args:
            peer: other end of the connection.
            headers: of the request, with names in lower case.
        """
        if not self._trusts_peer(peer):
            return peer
        given = [value for name, value in headers if name == FORWARDED]
        if not given:
            return peer
        hosts = [_without_port(host.strip()) for host in b",".join(given).decode("latin-1").split(",")]
        return next((host for host in reversed(hosts) if host not in self._trusted), hosts[0]) or peer


def _without_port(host: str) -> str:
    """An address as proxies write it, without the port that some add.

    >>> _without_port("192.0.2.7:4711"), _without_port("[2001:db8::1]:4711"), _without_port("2001:db8::1")
    ('192.0.2.7', '2001:db8::1', '2001:db8::1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


@lru_cache(maxsize=4096)
def limited_part(address: str) -> str | None:
    """The part of an address that is limited as one; None for callers of this machine, and where there is no address.

    >>> limited_part("192.0.2.7"), limited_part("2001:db8:1:2:3::4"), limited_part("::1")
    ('192.0.2.7', '2001:db8:1:2::/64', None)
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64] or None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return None if parsed.is_loopback else str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return None if parsed.is_loopback else str(parsed)
