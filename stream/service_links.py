"""Variables that Kubernetes sets for a Service whose name begins with `corrente`.

Kubernetes describes each Service to every container of its namespace by environment variables named after it. A Service
called `corrente` so makes `CORRENTE_SERVICE_HOST`, `CORRENTE_PORT=tcp://10.0.0.11:8080` and more, which look like
settings of ours. `corrente-metrics` even makes a `CORRENTE_METRICS_PORT` that isn't a number.

This file decides which variables are left out because they are a Service's. Only those are left out whose names and
values have exactly the form that Kubernetes gives them, for a Service that has both a host and a port: a misspelt
setting is still refused. The form is described in the Kubernetes documentation, "Service", section "Environment
variables" (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

HOST, PORT = "_SERVICE_HOST", "_SERVICE_PORT"
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://(?:\[(?P<bracketed>[0-9a-fA-F:.]+)\]|(?P<plain>[0-9.]+)):(?P<port>\d{1,5})")
_OF_ONE_PORT = re.compile(r"_PORT_\d{1,5}_(?:TCP|UDP|SCTP)(?P<part>_PROTO|_PORT|_ADDR)?")
_OF_A_NAMED_PORT = re.compile(r"_SERVICE_PORT(?:_[A-Z0-9_]+)?")


def service_links(variables: Mapping[str, str]) -> frozenset[str]:
    """Names of the variables that Kubernetes made from Services.

    >>> links = {"CORRENTE_SERVICE_HOST": "10.0.0.11", "CORRENTE_SERVICE_PORT": "80"}
    >>> sorted(service_links({**links, "CORRENTE_PORT": "tcp://10.0.0.11:80", "CORRENTE_PROT": "80"}))
    ['CORRENTE_PORT', 'CORRENTE_SERVICE_HOST', 'CORRENTE_SERVICE_PORT']
    >>> service_links({"CORRENTE_PORT": "tcp://10.0.0.11:80"})
    frozenset()
    """
    services = [
        name.removesuffix(HOST)
        for name, value in variables.items()
        if name.endswith(HOST) and _is_address(value) and _is_port(variables.get(name.removesuffix(HOST) + PORT, ""))
    ]
    return frozenset(
        name
        for name, value in variables.items()
        if any(name.startswith(service) and _is_link(name.removeprefix(service), value) for service in services)
    )


def _is_link(rest: str, value: str) -> bool:
    """True if a variable's value has the form that goes with what follows the Service in its name."""
    if rest == HOST:
        return _is_address(value)
    if rest == "_PORT":
        return _is_url(value)
    if _OF_A_NAMED_PORT.fullmatch(rest):
        return _is_port(value)
    found = _OF_ONE_PORT.fullmatch(rest)
    if found is None:
        return False
    match found["part"]:
        case "_PROTO":
            return value in {"tcp", "udp", "sctp"}
        case "_PORT":
            return _is_port(value)
        case "_ADDR":
            return _is_address(value)
        case _:
            return _is_url(value)


def _is_url(value: str) -> bool:
    found = _ADDRESS.fullmatch(value)
    return found is not None and _is_address(found["bracketed"] or found["plain"]) and _is_port(found["port"])


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdecimal() and 0 < int(value) <= 65535
