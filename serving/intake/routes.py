"""`POST /v1/events/...`: one event or an array, checked and sent to Kafka.

This file decides when an event counts as accepted: once Kafka has acknowledged it. How a body is read is decided by
`serving.intake.event_reader`.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.web.endpoint import problem_responses
from serving.web.parsing import read_body
from serving.web.problems import Problem
from serving.wiring import Inbox, Producer
from stream.events import TOPIC_TYPES


class Accepted(msgspec.Struct):
    """All events are in Kafka."""

    accepted: int
    event_ids: list[str]
    """The id of each event, in order: what was sent, or made here. Sending one again with its id counts once."""


class ElementStatus(msgspec.Struct, omit_defaults=True):
    """What became of one posted event."""

    event_id: str
    status: str
    """`accepted` or `failed`."""
    reason: str | None = None


router = APIRouter(tags=["events"])


async def accept(topic: str, request: Request, inbox: Inbox, producer: Producer) -> Response:
    """Read, send, answer."""
    state = request.app.state
    body = await read_body(request.scope, request.receive, state.settings.max_body_bytes)
    try:
        event_ids, records = inbox[topic].read(body, time.time())
    except Problem:
        state.metrics.events_refused.labels(topic, "invalid").inc()
        raise
    failures = await producer.send(state.settings.topics[topic], records)
    failed = sum(failure is not None for failure in failures)
    state.metrics.events_accepted.labels(topic).inc(len(records) - failed)
    if failed:
        state.metrics.events_refused.labels(topic, "not acknowledged").inc(failed)
        raise Problem(
            503,
            f"{failed} of {len(records)} events were not acknowledged by Kafka ({next(filter(None, failures))}). "
            "Send those again with the event ids given here, and each counts once.",
            elements=[
                ElementStatus(event_id, "failed" if failure else "accepted", failure)
                for event_id, failure in zip(event_ids, failures, strict=True)
            ],
            headers={"Retry-After": "1"},
        )
    return Response(msgspec.json.encode(Accepted(len(event_ids), event_ids)), 202, media_type="application/json")


def described(topic: str) -> dict[str, Any]:
    """What OpenAPI says about a topic's body and answers (FastAPI refuses Structs as bodies)."""
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
            **problem_responses("400", "413", "422", "503"),
        },
    }


@router.post("/v1/events/clicks", status_code=202, response_class=Response, openapi_extra=described("clicks"))
async def post_clicks(request: Request, inbox: Inbox, producer: Producer) -> Response:
    """Send a click, or an array of them."""
    return await accept("clicks", request, inbox, producer)


@router.post("/v1/events/purchases", status_code=202, response_class=Response, openapi_extra=described("purchases"))
async def post_purchases(request: Request, inbox: Inbox, producer: Producer) -> Response:
    """Send a purchase, or an array of them."""
    return await accept("purchases", request, inbox, producer)


@router.post("/v1/events/feedback", status_code=202, response_class=Response, openapi_extra=described("feedback"))
async def post_feedback(request: Request, inbox: Inbox, producer: Producer) -> Response:
    """Send feedback, or an array of it: a view, a cart, a like, a rating, a return, or a kind of your own."""
    return await accept("feedback", request, inbox, producer)
