"""What routes ask for, as named types, so that they read as plain signatures.

Everything is made once by `serving.app` and lives in the application's state. They are coroutines because FastAPI runs
plain functions in a thread, which costs more than the route.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request

from serving.intake.event_reader import EventReader
from serving.intake.producer import EventProducer
from serving.loading.loader import Loader
from serving.metrics import Metrics
from serving.web.problems import Problem
from stream.versions import VersionStore


async def _loader(request: Request) -> Loader:
    return request.app.state.loader


async def _store(request: Request) -> VersionStore:
    return request.app.state.store


async def _producer(request: Request) -> EventProducer:
    return request.app.state.producer


async def _inbox(request: Request) -> Mapping[str, EventReader]:
    return request.app.state.inbox


async def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of every FastAPI route: its declared query parameters are all there are."""
    declared = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in declared:
            there_are = f"there are {', '.join(sorted(declared))}" if declared else "this route takes none"
            raise Problem(422, f"{name}: there is no such parameter; {there_are}", field=name)


ServedVersions = Annotated[Loader, Depends(_loader)]
Store = Annotated[VersionStore, Depends(_store)]
Inbox = Annotated[Mapping[str, EventReader], Depends(_inbox)]
Producer = Annotated[EventProducer, Depends(_producer)]
ServerMetrics = Annotated[Metrics, Depends(_metrics)]
