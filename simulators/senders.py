"""Two ways into a running system: its HTTP API, and Kafka itself.

This file decides how events are sent and when they are sent again: both ways retry what was not acknowledged, a few
times. Events carry ids, so that one that arrived all the same counts once. An event that the system rejects as invalid
is not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from simulators.client import authorities, key_header
from simulators.replay import Outcome
from stream.ingest.mapping.plan import EVENT, OWN
from stream.kafka.connection.diagnosis import require_kafka
from stream.kafka.connection.options import client_options
from stream.kafka.connection.rights import poster_needs
from stream.settings import Settings

TRIES = 6
FIRST_PAUSE_SECONDS = 0.25
BUSY = frozenset({429, 500, 502, 503, 504})
NO_KEY = frozenset({401, 403})
"""Statuses of a key that is missing, wrong or without the scope: no event is to blame, and none would be accepted."""


class HttpSender:
    """Sender by `POST /v1/events/…`, one array at a time."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, topic: str, events: list[dict[str, Any]]) -> Outcome:
        pause = FIRST_PAUSE_SECONDS
        reason = ""
        for _ in range(TRIES):
            try:
                answer = await self._client.post(
                    f"/v1/events/{topic}",
                    content=msgspec.json.encode(events),
                    headers={"content-type": "application/json"},
                )
            except httpx.TransportError as error:
                reason = f"{self._client.base_url} does not answer: {error!r}"
            else:
                if answer.is_success:
                    return Outcome(acknowledged=len(events))
                reason = f"{answer.status_code}: {answer.text[:300]}"
                if answer.status_code in NO_KEY:
                    return Outcome(failed=len(events), reasons=[reason])
                if answer.status_code not in BUSY:
                    return await self._send_halves(topic, events, reason)
            await asyncio.sleep(pause)
            pause *= 2
        return Outcome(failed=len(events), reasons=[reason])

    async def _send_halves(self, topic: str, events: list[dict[str, Any]], reason: str) -> Outcome:
        """Find the invalid event by halving: the server accepts all of an array or nothing."""
        if len(events) == 1:
            return Outcome(refused=1, reasons=[reason])
        middle = len(events) // 2
        outcome = await self.send(topic, events[:middle])
        outcome.add(await self.send(topic, events[middle:]))
        return outcome


@asynccontextmanager
async def http_sender(address: str, key: str = "") -> AsyncIterator[HttpSender]:
    async with httpx.AsyncClient(  # authorities of the environment count, its proxies don't
        base_url=address, headers=key_header(key), timeout=60, trust_env=False, verify=authorities(address)
    ) as client:
        yield HttpSender(client)


class KafkaSender:
    """Sender to the topics themselves, keyed by visitor with Java's partitioner (murmur2), as in the server."""

    def __init__(self, producer: AIOKafkaProducer, topics: Mapping[str, str], fields: Mapping[str, str]) -> None:
        self._producer = producer
        self._topics = topics
        self._user, self._session = fields.get("user", "user"), fields.get("session", "session")

    async def send(self, topic: str, events: list[dict[str, Any]]) -> Outcome:
        name = self._topics[topic]
        sent = []
        try:
            for event in events:
                named = event[OWN][EVENT] if OWN in event else event
                key = named.get(self._user) or named[self._session]
                sent.append(await self._producer.send(name, value=msgspec.json.encode(event), key=key.encode()))
        except KafkaError as error:
            reason = str(error) or type(error).__name__
        else:
            reason = ""
        answers = await asyncio.gather(*sent, return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        reasons = sorted({reason, *map(str, errors)} - {""})
        acknowledged = len(answers) - len(errors)
        return Outcome(acknowledged=acknowledged, failed=len(events) - acknowledged, reasons=reasons)


@asynccontextmanager
async def kafka_sender(settings: Settings) -> AsyncIterator[KafkaSender]:
    """Run a producer until the context ends; the value sends with it.

    Raises:
        KafkaUnusable: no broker answers, or one refuses; the text says why.
    """
    await require_kafka(settings, poster_needs(settings))
    # Idempotent: records that the client sends again after a lost acknowledgement are neither doubled nor out of order.
    producer = AIOKafkaProducer(**client_options(settings), acks="all", enable_idempotence=True, linger_ms=2)
    await producer.start()
    try:
        yield KafkaSender(producer, settings.topics, settings.fields)
    finally:
        await producer.stop()
