"""HTTP answers of the worker for probes and Prometheus, from a thread.

This file decides what `GET /metrics`, `GET /health/live` and `GET /health/ready` answer, and that metrics may need a
token, which health never does. `live` says that the process
answers. `ready` is 503 while any shard of this worker stands still, with the reason, since when, and what mends it. A
worker that stands by without a shard is ready, and says so.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from hmac import compare_digest
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from stream.health.standing import Standing
from stream.kafka.refusals import CannotLearn
from stream.settings import WrongSetting

REFUSAL = "Metrics need the token of CORRENTE_METRICS_TOKEN, as `Authorization: Bearer …`."


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
        """Log nothing: probes come every second."""


def serve(
    port: int,
    registry: CollectorRegistry,
    standing: Callable[[], Mapping[int, Standing] | None],
    host: str = "127.0.0.1",
    notes: Callable[[], Mapping[str, Any]] = dict,
    token: str = "",
) -> int:
    """Answer on this port, from a thread, until the process ends.

    Args:
        port: 0 picks a free one.
        registry: of the metrics.
        standing: gives the shards that stand still; None until the worker has joined its group.
        host: address of this machine that is bound; `0.0.0.0` is all of them, and `::` all with IPv6.
        notes: gives further parts of the answer to `ready`, which change nothing about its status.
        token: text that `/metrics` asks for as `Authorization: Bearer …`; empty for none.

    Returns:
        The port.

    Raises:
        CannotLearn: the machine doesn't have this address, or another program has the port.
    """
    metrics, expected = make_wsgi_app(registry), f"Bearer {token}".encode("latin-1")

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/health/live":
            return _json(start_response, "200 OK", {"status": "live"})
        if path == "/health/ready":
            status, body = readiness(standing())
            return _json(start_response, status, {**body, **notes()})
        if token and not compare_digest(environ.get("HTTP_AUTHORIZATION", "").encode("latin-1"), expected):
            return _json(start_response, "401 Unauthorized", {"detail": REFUSAL}, ("WWW-Authenticate", "Bearer"))
        return metrics(environ, start_response)

    try:
        server = make_server(host, port, answer, _server_class(host), handler_class=_Quiet)
    except OSError as error:
        raise CannotLearn(_cannot_bind(host, port, error)) from None
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server.server_port


def check_port(host: str, port: int) -> None:
    """Bind the port and release it, to find out before a worker starts whether its metrics can be served.

    Raises:
        WrongSetting: the machine doesn't have this address, or another program has the port.
    """
    try:
        _server_class(host)((host, port), _Quiet).server_close()
    except OSError as error:
        raise WrongSetting(_cannot_bind(host, port, error)) from None


def _server_class(host: str) -> type[_Server]:
    return _ServerOnIPv6 if ":" in host else _Server


def _cannot_bind(host: str, port: int, error: OSError) -> str:
    return (
        f"metrics can't be served on {host}, port {port}: {error}. Set CORRENTE_METRICS_HOST to an address of this "
        "machine and CORRENTE_METRICS_PORT to a free port"
    )


def readiness(standing: Mapping[int, Standing] | None) -> tuple[str, dict[str, Any]]:
    """HTTP status and body of `/health/ready`.

    >>> readiness({})
    ('200 OK', {'status': 'ready', 'stopped': []})
    """
    if standing is None:
        return "503 Service Unavailable", {"status": "starting", "stopped": []}
    stopped = [
        {
            "partition": partition,
            "since": datetime.fromtimestamp(each.since, UTC).isoformat(timespec="seconds"),
            "reason": each.reason,
            "detail": each.detail,
            "mend": each.command,
        }
        for partition, each in sorted(standing.items())
    ]
    status = "503 Service Unavailable" if stopped else "200 OK"
    return status, {"status": "not ready" if stopped else "ready", "stopped": stopped}


def _json(start_response: Any, status: str, body: Mapping[str, Any], *more: tuple[str, str]) -> list[bytes]:
    encoded = json.dumps(body).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(encoded))), *more])
    return [encoded]
