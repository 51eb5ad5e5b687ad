"""The producer of posted events ends when it is told to, whatever it is doing."""

from __future__ import annotations

import asyncio

import pytest

from serving.intake.producer import EventProducer
from serving.upstream_health import UpstreamHealth
from tests.serving.awaiting import eventually
from tests.serving.conftest import Broker, RedisServer, settings_for

SECONDS = 20.0


async def test_a_stop_that_meets_an_answer_of_kafka_ends_the_producer(
    redis_server: RedisServer, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = UpstreamHealth("kafka")
    producer = EventProducer(settings_for(redis_server, broker), kafka)
    await producer.start()

    async def connected() -> bool:
        return kafka.up

    await eventually(connected, "Kafka is up")
    asked = asyncio.Event()
    answer = asyncio.get_running_loop().create_future()

    def ask() -> asyncio.Future[bool]:
        asked.set()
        return answer

    assert producer._producer is not None
    monkeypatch.setattr(producer._producer.client, "force_metadata_update", ask)
    async with asyncio.timeout(SECONDS):
        await asked.wait()
    answer.set_result(True)
    stopping = asyncio.create_task(producer.stop())
    ended, _ = await asyncio.wait([stopping], timeout=SECONDS)
    assert ended
    await stopping
