"""Routes for operators and their tools: `/health/live`, `/health/ready` and `/metrics`.

A server is ready once the version store was asked, the newest version (if there is one) is loaded and its kernels are
compiled. From then on it stays ready, because it continues to answer from its last good version. While Redis, Kafka or
the newest version is unavailable, or a shard is not learned, the status is `degraded`, with the moment and the reason.
A load balancer must not take servers away because learning stands still, so the answer is 200 then.

This file decides when a server counts as starting, ready or degraded.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from serving.upstream_health import UpstreamHealth
from serving.web.unknown_parameters import refuse_unknown_parameters
from serving.wiring import Access, Producer, ServedVersions, ServerMetrics
from stream.access.scopes import METRICS_READ


class DependencyHealth(msgspec.Struct, omit_defaults=True):
    """Redis or Kafka, as this server sees it."""

    up: bool
    since: str | None = None
    """Moment at which it became unavailable (RFC 3339)."""
    reason: str | None = None


class StoppedHealth(msgspec.Struct):
    """A shard that is not learned at present. Its lists are those of the last version."""

    shard: int
    """Number of the shard."""
    since: str
    """Moment since which it stands still (RFC 3339)."""
    reason: str
    """Reason in a word or two, also a label of `corrente_learning_stopped`; `no worker` if none has it any more."""
    detail: str
    """The error, for people."""
    mend: str
    """The command or setting that mends it."""
    worker: str
    """Worker that has it, or had it last."""
    partitions: list[str]
    """Topic-partitions in which records waited when the worker reported."""


class BriefHealth(msgspec.Struct):
    """State of this server for callers without a key that has `metrics:read`."""

    status: str
    """Word of `Health.status`."""
    access: str
    """`keys`: calls need one."""


class Health(msgspec.Struct):
    """State of this server."""

    status: str
    """`starting` (503), `ready`, or `degraded`: it answers, and something is unavailable or a shard stands still."""
    since: str | None
    """Moment since which it is degraded (RFC 3339)."""
    model: str
    version: int | None
    version_id: str | None
    redis: DependencyHealth
    kafka: DependencyHealth
    problem: str | None
    """Reason why the version to be served can't be loaded; null if there is none."""
    stopped: list[StoppedHealth]
    """Shards that are not learned at present."""
    access: str = "open"
    """`open`: every program of this machine may call, because no key was made yet; `keys`: calls need one."""


router = APIRouter(tags=["operations"], dependencies=[Depends(refuse_unknown_parameters)])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process runs."""
    return {"status": "live"}


_STATE = {
    "application/json": {
        "schema": {"anyOf": [{"$ref": f"#/components/schemas/{shape.__name__}"} for shape in (Health, BriefHealth)]}
    }
}


@router.get(
    "/health/ready",
    response_class=Response,
    responses={
        200: {"description": "It answers; `status` is `ready` or `degraded`", "content": _STATE},
        503: {
            "description": "`status` is `starting`: no version is loaded yet, or kernels are being compiled",
            "content": _STATE,
        },
    },
)
async def ready(request: Request, loader: ServedVersions, producer: Producer, access: Access) -> Response:
    """Say whether this server answers, from which version, what is unavailable, and what is not learned.

    Where calls need a key, the whole answer needs one with `metrics:read`; everyone else gets `status` and `access`.
    """
    away = [each.since for each in (loader.redis, producer.kafka) if not each.up]
    stopped = loader.stopped
    moments = [*away, loader.problem_since, *(each.since for each in stopped)]
    problem_moments = [moment for moment in moments if moment is not None]
    if not loader.ready:
        status = "starting"
    elif away or loader.problem or stopped:
        status = "degraded"
    else:
        status = "ready"
    code = 200 if loader.ready else 503
    if not access.allows(request.scope["headers"], METRICS_READ):
        return Response(msgspec.json.encode(BriefHealth(status, "keys")), code, media_type="application/json")
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
        stopped=[
            StoppedHealth(
                each.shard, _rfc3339(each.since), each.reason, each.detail, each.mend, each.worker, each.partitions
            )
            for each in stopped
        ],
        access="open" if access.ring.open else "keys",
    )
    return Response(msgspec.json.encode(health), code, media_type="application/json")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "The counters", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
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
