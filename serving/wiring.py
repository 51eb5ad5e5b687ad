"""Objects of the application as named types, so that the routes of operations read as plain signatures.

This file decides which objects a FastAPI route can ask for. They are made once, by `serving.app`, and kept in the
application's state. The functions are coroutines because FastAPI runs plain functions in a thread, which costs more
than the route.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from serving.access.guard import Guard
from serving.intake.producer import EventProducer
from serving.loading.served import VersionSource
from serving.metrics import Metrics
from stream.versions import VersionStore


async def _loader(request: Request) -> VersionSource:
    return request.app.state.loader


async def _store(request: Request) -> VersionStore:
    return request.app.state.store


async def _producer(request: Request) -> EventProducer:
    return request.app.state.producer


async def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics


async def _guard(request: Request) -> Guard:
    return request.app.state.guard


ServedVersions = Annotated[VersionSource, Depends(_loader)]
Store = Annotated[VersionStore, Depends(_store)]
Producer = Annotated[EventProducer, Depends(_producer)]
Access = Annotated[Guard, Depends(_guard)]
ServerMetrics = Annotated[Metrics, Depends(_metrics)]
