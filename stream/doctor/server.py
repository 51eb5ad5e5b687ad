"""Checks of a running server: its answer to `GET /health/ready`, and its clock.

This file decides where a server is asked, and how severe each of its states is.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from stream.doctor.findings import Finding, error, note, ok, warning
from stream.doctor.redis import clock_finding
from stream.settings import Settings

ANSWER_SECONDS = 5.0

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses without the proxies of the environment, which know nothing of loopback."""


def address_of(settings: Settings) -> str:
    """The address at which a server of these settings is asked from its own machine.

    >>> address_of(Settings(host="0.0.0.0", port=8080)), address_of(Settings(host="::1"))
    ('http://127.0.0.1:8080', 'http://[::1]:8080')
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def check_server(address: str, now: Callable[[], float], *, expected: bool, key: str = "") -> list[Finding]:
    """The readiness of a server.

    Args:
        address: URL without a path.
        now: gives seconds since the epoch.
        expected: whether a server that doesn't answer is an error, or only worth a note.
        key: of the HTTP API; with the scope `metrics:read` the server says more.
    """
    try:
        status, date, body = _get(f"{address}/health/ready", key)
    except (OSError, http.client.HTTPException, ValueError) as failed:
        reason = getattr(failed, "reason", None) or failed
        found = f"no server answers at {address}: {reason}"
        mend = "start one: corrente serve; or name its address: corrente doctor --server http://host:8080"
        return [error("server.ready", found, mend) if expected else note("server.ready", found, mend)]
    findings = readiness(address, status, body)
    if date:
        findings.append(clock_finding(f"the server at {address}", parsedate_to_datetime(date).timestamp(), int(now())))
    return findings


def _get(url: str, key: str) -> tuple[int, str | None, Any]:
    """Status, date and decoded body of an answer, whatever its status."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  an address that the user gave
    try:
        with _direct.open(request, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.headers["date"], json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers["date"], json.loads(refused.read())


def readiness(address: str, status: int, body: Mapping[str, Any]) -> list[Finding]:
    """Findings about the body of `GET /health/ready`.

    >>> readiness("http://host", 200, {"status": "ready", "version": 7})[0].found
    'the server at http://host is ready and answers from version 7'
    """
    state = body.get("status")
    if state in {"ready", "degraded"} and set(body) == {"status", "access"}:
        brief = f"the server at {address} is {state}; it says more to a key with metrics:read"
        mend = "make one, and set CORRENTE_API_KEY_FILE: corrente keys create --scope metrics:read --owner doctor"
        return [ok("server.ready", brief) if state == "ready" else warning("server.ready", brief, mend)]
    if state == "ready":
        version = body.get("version")
        of = "has no version yet" if version is None else f"answers from version {version}"
        return [ok("server.ready", f"the server at {address} is ready and {of}")]
    if state != "degraded":
        mend = "wait until it has started; its log says what it waits for"
        return [error("server.ready", f"the server at {address} isn't ready: {status} {state}", mend)]
    found = [
        warning("server.ready", f"the server sees no {name}: {body[key].get('reason')}", f"start {name}, or look there")
        for key, name in (("redis", "Redis"), ("kafka", "Kafka"))
        if not body.get(key, {}).get("up", True)
    ]
    if body.get("problem"):
        found.append(warning("server.ready", str(body["problem"]), "corrente versions list shows what it could load"))
    found += [
        warning("server.learning", f"shard {each['shard']} stands still: {each['detail']}", each["mend"])
        for each in body.get("stopped", ())
    ]
    return found or [warning("server.ready", f"the server at {address} is degraded", "look at its log")]
