"""The application: what it is made of, and the order in which its parts start and stop.

`create_app` reads nothing from the environment and connects to nothing; `lifespan` does. Kafka and Redis may be away at
the start: the server starts all the same, and says in `/health/ready` what it waits for.

There is no middleware. What every request needs (routing by the path as it was sent, counting) is done once around the
whole application, because a middleware costs about as much as a list.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from serving.answers import item_lists, recommendations
from serving.answers.response import Recommendations
from serving.intake import routes
from serving.intake.event_reader import EventReader
from serving.intake.producer import EventProducer
from serving.loading.loader import Loader
from serving.loading.sharing import SnapshotClient
from serving.metrics import Metrics
from serving.operations import health, versions
from serving.upstream_health import Dependency
from serving.web import openapi
from serving.web.endpoint import Endpoint, Send
from serving.web.path_ids import routed_by_raw_path
from serving.web.problems import ProblemDetails, answer_problems
from stream.events import TOPIC_TYPES
from stream.settings import Settings
from stream.versions import VersionStore

DESCRIPTION = (
    "A streaming, online-learning recommender. Post what visitors do; ask what they should see. Every answer names the "
    "version of the model that made it, and every version can be gone back to."
)

ENDPOINTS: list[Endpoint] = [*recommendations.ROUTES, *item_lists.ROUTES]
SHAPES = [
    ProblemDetails,
    Recommendations,
    routes.Accepted,
    versions.VersionList,
    versions.Pinned,
    versions.RollbackReason,
    health.Health,
]


class Server(FastAPI):
    """FastAPI, routed by raw paths, with every request counted."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Send,
    ) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        routed_by_raw_path(scope)
        started = time.perf_counter()
        status = 500

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await super().__call__(scope, receive, noted)
        finally:
            template = scope.get("route_template") or getattr(scope.get("route"), "path_format", "none")
            self.state.metrics.count_request(scope["method"], template, status, time.perf_counter() - started)


def create_app(settings: Settings, shared: str | None = None) -> Server:
    """An application that is ready to be started.

    Args:
        settings: of the server.
        shared: name of the socket of the process that loads versions; None: this one loads them itself.
    """
    app = Server(
        title="Corrente", description=DESCRIPTION, version="1", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    # First in the table, because a router looks at one route after the other.
    app.router.routes[:0] = [endpoint.route() for endpoint in ENDPOINTS]
    for router in (routes.router, versions.router, health.router):
        app.include_router(router)
    answer_problems(app)

    state = app.state
    state.settings = settings
    state.metrics = Metrics()
    state.store = VersionStore.connect(settings.redis, settings.model_name)
    redis = Dependency("redis", state.metrics)
    if shared is None:
        state.loader = Loader(
            state.store,
            redis,
            state.metrics,
            visitor_salt=settings.model.visitor_salt,
            poll_seconds=settings.poll_seconds,
            resident_versions=settings.resident_versions,
        )
    else:
        state.loader = SnapshotClient(
            shared, state.store, redis, state.metrics, visitor_salt=settings.model.visitor_salt
        )
    state.producer = EventProducer(
        settings.kafka,
        list(settings.topics.values()),
        settings.acknowledge_seconds,
        Dependency("kafka", state.metrics),
    )
    state.inbox = {topic: EventReader(topic, settings.fields, settings.max_future_seconds) for topic in TOPIC_TYPES}
    _document(app)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start loading and connecting in the background; on the way out send what was accepted, then stop loading."""
    state = app.state
    await state.producer.start()
    state.loader.start()
    try:
        yield
    finally:
        await state.producer.stop()
        await state.loader.stop()
        state.store.close()


def _document(app: FastAPI) -> None:
    """`/docs` and `/openapi.json`, which is made when it is first asked for."""
    made: dict[str, Any] = {}

    def whole() -> dict[str, Any]:
        if not made:
            event_shapes = {TOPIC_TYPES[topic].__name__: reader.kind for topic, reader in app.state.inbox.items()}
            made.update(openapi.document(app, ENDPOINTS, SHAPES, event_shapes))
        return made

    app.openapi = whole  # type: ignore[method-assign]
    openapi.pages(app)
