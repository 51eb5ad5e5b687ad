"""Routes of posted events: `POST /v1/events/...`, one event or an array.

This file decides which routes there are and how each is described in the OpenAPI document. They are FastAPI routes, as
those of operations are; `serving.web.endpoint` says why.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from serving.access.guard import BEACON_EVENTS, VISITOR, key_of
from serving.intake.event_intake import EventIntake
from serving.limits.rate_headers import note_limits
from serving.web.body import read_body
from serving.web.endpoint import problem_responses
from serving.web.unknown_parameters import refuse_unknown_parameters
from stream.events import TOPIC_TYPES


async def _intake(request: Request) -> EventIntake:
    return request.app.state.intake


Intake = Annotated[EventIntake, Depends(_intake)]

router = APIRouter(tags=["events"], dependencies=[Depends(refuse_unknown_parameters)])


async def accept(topic: str, request: Request, intake: EventIntake) -> Response:
    """Read a body, send its events to Kafka, answer with 202."""
    scope = request.scope
    body = scope.get(BEACON_EVENTS)  # the guard has read the body of a beacon, for its key
    if body is None:
        body = await read_body(scope, request.receive, intake.max_body_bytes)
    key, limits = key_of(scope), request.app.state.limits

    def take(count: int) -> None:
        note_limits(scope, limits.take_events(key, count))

    with request.app.state.guard.counted():
        accepted = await intake.accept(topic, body, time.time(), take, scope.get(VISITOR))
    return Response(msgspec.json.encode(accepted), 202, media_type="application/json")


def openapi_of(topic: str) -> dict[str, Any]:
    """OpenAPI description of a topic's body and answers, written here because FastAPI refuses Structs as bodies."""
    reference = {"$ref": f"#/components/schemas/{TOPIC_TYPES[topic].__name__}"}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"anyOf": [reference, {"type": "array", "items": reference}]}}},
        },
        "responses": {
            "202": {
                "description": "Kafka has acknowledged every event",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
            },
            **problem_responses("400", "413", "415", "422", "503"),
        },
    }


@router.post("/v1/events/clicks", status_code=202, response_class=Response, openapi_extra=openapi_of("clicks"))
async def post_clicks(request: Request, intake: Intake) -> Response:
    """Send a click, or an array of them."""
    return await accept("clicks", request, intake)


@router.post("/v1/events/purchases", status_code=202, response_class=Response, openapi_extra=openapi_of("purchases"))
async def post_purchases(request: Request, intake: Intake) -> Response:
    """Send a purchase, or an array of them."""
    return await accept("purchases", request, intake)


@router.post("/v1/events/feedback", status_code=202, response_class=Response, openapi_extra=openapi_of("feedback"))
async def post_feedback(request: Request, intake: Intake) -> Response:
    """Send feedback, or an array of it: a view, a cart, a like, a rating, a return, or a kind of your own."""
    return await accept("feedback", request, intake)
