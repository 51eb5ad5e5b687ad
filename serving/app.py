"""Application: its parts, and the order in which they start and stop.

This file decides which parts an application has and which routes. `create_app` reads nothing from the environment and
connects to nothing; `lifespan` does. Kafka and Redis may be down at the start: the server starts all the same, and
`/health/ready` says what it waits for.

There is no middleware. Routing by the path as it was sent and counting, which every request needs, are done once around
the whole application, because a middleware costs about as much as a list.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import Depends, FastAPI

from serving.access import why
from serving.access.guard import Guard, require_scope
from serving.access.key_ring import KeyRing
from serving.access.route_scopes import BEACON_ROUTES, PUBLIC_ROUTES, READING_ROUTES, ROUTE_SCOPES
from serving.answers import item_lists, recommendations
from serving.answers.responder import Responder
from serving.answers.response import Recommendations
from serving.catalogue import documents
from serving.catalogue import routes as catalogue_routes
from serving.intake import routes
from serving.intake.event_intake import Accepted, EventIntake
from serving.intake.event_reader import EventReader
from serving.intake.mapped_reader import MappedReader
from serving.intake.producer import EventProducer
from serving.intake.visitor_wishes import VisitorWishes
from serving.limits.limits import Limits
from serving.limits.rate_headers import headers_of, noted_limits
from serving.loading.loader import Loader
from serving.loading.shared import SnapshotClient
from serving.metrics import Metrics
from serving.operations import health, transparency, versions
from serving.upstream_health import UpstreamHealth
from serving.web import openapi
from serving.web.cors import Cors
from serving.web.endpoint import Endpoint, Send
from serving.web.path_ids import route_by_raw_path
from serving.web.problems import ProblemDetails, answer_problems
from stream.access.audit import AuditTrail
from stream.access.key_store import KeyStore
from stream.access.limit_store import LimitStore
from stream.catalogue.visitor_rules import VisitorRules
from stream.catalogue_store.live import LiveCatalogue
from stream.catalogue_store.store import CatalogueStore
from stream.events import TOPIC_TYPES
from stream.settings import Settings
from stream.versions import VersionStore

DESCRIPTION = (
    "A streaming, online-learning recommender. Post what visitors do; get what they should see. Every answer names the "
    "version of the model that made it, and every version that is kept can be served again."
)

OPEN_ACCESS = "No key was made yet: every program of this machine may call, and no other machine."
KEYED_ACCESS = "Calls need a key, as `Authorization: Bearer …` or `X-API-Key: …`."

ENDPOINTS: list[Endpoint] = [*recommendations.ROUTES, *item_lists.ROUTES]
STRUCTS = [
    ProblemDetails,
    Recommendations,
    Accepted,
    versions.VersionList,
    versions.Pinned,
    versions.RollbackReason,
    health.Health,
    health.BriefHealth,
    transparency.Transparency,
    *documents.STRUCTS,
]


class Server(FastAPI):
    """FastAPI, routed by raw paths, with HEAD beside every GET, and every request counted."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Send,
    ) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        route_by_raw_path(scope)
        method = scope["method"]
        if method == "HEAD":  # every route that answers GET answers HEAD too; uvicorn leaves the body out
            scope = {**scope, "method": "GET"}
        started = time.perf_counter()
        status = 500
        cors: Cors = self.state.cors
        if cors and (preflight := cors.preflight_for(scope)) is not None:
            for message in preflight:
                await send(message)
            self.state.metrics.count_request("OPTIONS", "preflight", 204, time.perf_counter() - started)
            return

        async def send_and_keep_status(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if cors:
                    message["headers"] = [*message.get("headers", ()), *cors.headers_for(scope["headers"])]
                if status != HTTPStatus.TOO_MANY_REQUESTS and (limited := noted_limits(scope)):  # a refusal has its own
                    message["headers"] = [*message.get("headers", ()), *headers_of(limited, time.time())]
            await send(message)

        try:
            await super().__call__(scope, receive, send_and_keep_status)
        finally:
            template = scope.get("route_template") or getattr(scope.get("route"), "path_format", "none")
            self.state.metrics.count_request(method, template, status, time.perf_counter() - started)


def create_app(settings: Settings, shared: str | None = None, *, reachable: bool = False) -> Server:
    """An application that is ready to be started.

    Args:
        settings: of the server.
        shared: name of the socket of the process that loads versions; None: this process loads them itself.
        reachable: True if other machines can reach the server, which then needs keys.
    """
    app = Server(
        title="Corrente",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        dependencies=[Depends(require_scope)],
        generate_unique_id_function=lambda route: route.name,  # ids of operations stay the same when a path changes
    )
    # First in the table, because a router tries one route after the other.
    app.router.routes[:0] = [endpoint.route() for endpoint in ENDPOINTS]
    for router in (routes.router, catalogue_routes.router, versions.router, health.router, transparency.router):
        app.include_router(router)
    answer_problems(app)

    state = app.state
    state.settings = settings
    state.metrics = Metrics()
    state.cors = Cors(settings.page_origins)
    state.store = VersionStore.connect(settings.redis_address, settings.model_name)
    redis = UpstreamHealth("redis", state.metrics)
    if shared is None:
        state.loader = Loader(
            state.store,
            redis,
            state.metrics,
            visitor_salt=settings.model.visitor_salt,
            poll_seconds=settings.poll_seconds,
            resident_versions=settings.resident_versions,
            origin=uuid4().hex,
        )
    else:
        state.loader = SnapshotClient(
            shared, state.store, redis, state.metrics, visitor_salt=settings.model.visitor_salt
        )
    first_key = settings.first_key.get_secret_value()
    state.key_ring = KeyRing(
        KeyStore(state.store.space),
        may_open=not (reachable or settings.require_keys or first_key),
        stale_seconds=settings.keys_stale_seconds,
        first_key=first_key,
    )
    state.limits = Limits(settings, LimitStore(state.store.space), state.metrics.count_limit)
    state.guard = Guard(
        state.key_ring,
        state.metrics.count_access_refusal,
        state.limits,
        AuditTrail(state.store.space),
        settings.model.visitor_salt,
        settings.metrics_token.get_secret_value(),
    )
    state.catalogue_store = CatalogueStore(state.store)
    state.catalogue = LiveCatalogue(
        state.catalogue_store, settings.poll_seconds, lambda: _show_catalogue(state.metrics, state.catalogue)
    )
    state.loader.prepare = lambda loaded: state.catalogue.prepare(loaded.for_catalogue)
    state.responder = Responder(state.loader, state.metrics, state.catalogue.catalogue, state.catalogue.rules_of)
    state.producer = EventProducer(settings, UpstreamHealth("kafka", state.metrics))
    state.intake = EventIntake(
        {topic: _reader_of(topic, settings, state.catalogue.rules_of) for topic in TOPIC_TYPES},
        state.producer,
        settings.topics,
        settings.max_body_bytes,
        state.metrics,
    )
    _document(app)
    if settings.docs:
        openapi.add_pages(app)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start loading and connecting in the background; at the end send accepted events, then stop loading."""
    state = app.state
    await state.key_ring.start()
    await state.limits.start()
    await state.producer.start()
    state.catalogue.start()
    state.loader.start()
    try:
        yield
    finally:
        await state.producer.stop()
        await asyncio.to_thread(state.catalogue.stop)
        await state.loader.stop()
        await state.limits.stop()
        await state.key_ring.stop()
        state.store.close()


def _reader_of(topic: str, settings: Settings, rules_of: Callable[[str], VisitorRules]) -> EventReader | MappedReader:
    """The reader of the bodies that are posted to a topic."""
    plan, scale, most = settings.mapping_plan, settings.model.scale, settings.max_body_events
    wishes = VisitorWishes(rules_of, settings.model.consent_default)
    if plan is not None and topic in plan.topics:
        return MappedReader(plan.topics[topic], settings.max_future_seconds, scale, wishes, most)
    return EventReader(topic, settings.fields, settings.max_future_seconds, scale, wishes, most)


def _show_catalogue(metrics: Metrics, live: LiveCatalogue) -> None:
    current = live.catalogue.current
    metrics.catalogue_items.set(current.items)
    metrics.catalogue_revision.set(current.revision)
    metrics.catalogue_behind.set(live.behind)


def _document(app: FastAPI) -> None:
    """Let `app.openapi` make the document. It says whether calls need a key, and is made once for either case."""
    documents: dict[bool, dict[str, Any]] = {}

    def openapi_document() -> dict[str, Any]:
        is_open = app.state.key_ring.open
        if is_open not in documents:
            readers = app.state.intake.readers
            event_types = {TOPIC_TYPES[topic].__name__: reader.event_type for topic, reader in readers.items()}
            app.description = f"{DESCRIPTION} {OPEN_ACCESS if is_open else KEYED_ACCESS}"
            documents[is_open] = openapi.document(
                app,
                ENDPOINTS,
                STRUCTS,
                event_types,
                ROUTE_SCOPES,
                public_routes=PUBLIC_ROUTES,
                beacon_routes=BEACON_ROUTES,
                header_parameters=dict.fromkeys(READING_ROUTES, why.PARAMETER),
                is_open=is_open,
                field_names=app.state.settings.fields,
            )
        return documents[is_open]

    app.openapi = openapi_document  # type: ignore[method-assign]  # the way FastAPI documents
