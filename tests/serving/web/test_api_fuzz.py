"""Fuzzing: the server answers any request as its own OpenAPI document says, and never with a failure of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from serving.app import create_app
from stream.settings import load_settings
from stream.versions import VersionStore
from tests.serving.answers.test_recommendations import CLICKS
from tests.serving.conftest import Broker, Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

pytestmark = pytest.mark.unmeasured
schemathesis = pytest.importorskip("schemathesis")

import httpx  # noqa: E402  # this and the next two need schemathesis, which may be missing
from schemathesis import GenerationMode  # noqa: E402  # see above
from schemathesis.specs.openapi import checks  # noqa: E402  # see above

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.unsupported_method,
    checks.negative_data_rejection,
]
"""All checks but the one that every request that fits the schema is accepted: a schema can't say that an event needs a
user or a session, that a time may not be ahead, or which versions there are."""


@pytest.fixture(scope="module")
def address(_redis: RedisServer) -> Iterator[str]:
    broker = Broker()
    broker.create("clicks", "purchases", "feedback")
    _redis.client.flushall()
    store = VersionStore.connect(_redis.url, "shop")
    publisher = Publisher(store)
    publisher.learn(*CLICKS[:60])
    publisher.learn(*CLICKS[60:])
    with serving(_redis, broker, "--port", "0") as (_, address):

        def ready() -> bool:
            health = httpx.get(f"{address}/health/ready").json()
            return health["version"] == 2 and health["kafka"]["up"]

        until(ready, "the server is ready")
        yield address
    store.close()
    broker.stop()


SCHEMA = schemathesis.openapi.from_dict(create_app(load_settings({})).openapi())
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_breaks_the_server(label: str, mode: str, address: str):
    generation_mode = GenerationMode(mode)

    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=OPERATIONS[label].as_strategy(generation_mode=generation_mode))
    def send(case):
        case.call_and_validate(base_url=address, checks=CHECKS)

    try:
        send()
    except Unsatisfiable:
        assert mode == "negative"  # no request to this route can be wrong


async def test_the_server_still_answers_afterwards(address: str):
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{address}/health/ready")).status_code == 200
