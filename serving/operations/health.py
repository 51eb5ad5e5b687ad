"""Routes for operators and their tools: `/health/live`, `/health/ready` and `/metrics`.

A server is ready once the version store was asked, the newest version (if there is one) is loaded and its kernels are
compiled. From then on it stays ready, because it continues to answer from its last good version; while Redis, Kafka or
the newest version is unavailable, the status is `degraded`, with the moment and the reason.

This file decides when a server counts as starting, ready or degraded.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from serving.upstream_health import UpstreamHealth
from serving.web.unknown_parameters import refuse_unknown_parameters
from serving.wiring import Producer, ServedVersions, ServerMetrics


class DependencyHealth(msgspec.Struct, omit_defaults=True):
    """Redis or Kafka, as this server sees it."""

    up: bool
    since: str | None = None
    """Moment at which it became unavailable (RFC 3339)."""
    reason: str | None = None


class Health(msgspec.Struct):
    """State of this server."""

    status: str
    """`starting` (503), `ready`, or `degraded`: it answers, but something that it needs is unavailable."""
    since: str | None
    """Moment since which it is degraded (RFC 3339)."""
    model: str
    version: int | None
    version_id: str | None
    redis: DependencyHealth
    kafka: DependencyHealth
    problem: str | None
    """Reason why the version to be served can't be loaded; null if there is none."""


router = APIRouter(tags=["operations"], dependencies=[Depends(refuse_unknown_parameters)])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process runs."""
    return {"status": "live"}


@router.get("/health/ready", response_class=Response)
async def ready(loader: ServedVersions, producer: Producer) -> Response:
    """Say whether this server answers, from which version, and what is unavailable."""
    away = [each.since for each in (loader.redis, producer.kafka) if not each.up]
    problem_moments = [moment for moment in (*away, loader.problem_since) if moment is not None]
    if not loader.ready:
        status = "starting"
    elif away or loader.problem:
        status = "degraded"
    else:
        status = "ready"
    served = loader.served.version if loader.served else None
    health = Health(
        status=status,
        since=_rfc3339(min(problem_moments)) if status == "degraded" and problem_moments else None,
        model=loader.model_name,
        version=served.number if served else None,
        version_id=served.id if served else None,
        redis=_health(loader.redis),
        kafka=_health(producer.kafka),
        problem=loader.problem,
    )
    return Response(msgspec.json.encode(health), 200 if loader.ready else 503, media_type="application/json")


@router.get("/metrics", response_class=Response)
async def metrics(counted: ServerMetrics, loader: ServedVersions) -> Response:
    """Show counters for Prometheus: sums over all processes of this server."""
    return Response(counted.text(await loader.totals()), media_type=CONTENT_TYPE_LATEST)


def _health(dependency: UpstreamHealth) -> DependencyHealth:
    if dependency.up:
        return DependencyHealth(True)
    return DependencyHealth(False, None if dependency.since is None else _rfc3339(dependency.since), dependency.reason)


def _rfc3339(seconds: float) -> str:
    """A moment in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
