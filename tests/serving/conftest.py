"""Fixtures: a real Redis, librdkafka's in-process broker, a shard that publishes, and the application over ASGI."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import httpx
import pytest
import redis

from serving.app import Server, create_app
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.settings import Settings, load_settings
from stream.shard.shard import Shard
from stream.versions import Claim, Version, VersionStore

MODEL = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=256)
TOPICS = ("clicks", "purchases", "feedback")


class RedisServer:
    """One redis-server that can be stopped, started again with its data, and emptied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url)
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        until(self._answers, "redis-server answers")

    def stop(self) -> None:
        """Stop it and keep the data for the next start."""
        with contextlib.suppress(redis.ConnectionError):
            self.client.save()
        self.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


def until(holds: Callable[[], Any], what: str, seconds: float = 240.0) -> Any:
    """Wait for a condition and return its value; fail the test if it never holds."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for this to hold: {what}")
        time.sleep(0.01)
    return found


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(_redis: RedisServer) -> Iterator[RedisServer]:
    """An empty Redis. A test may stop it."""
    _redis.client.flushall()
    yield _redis
    if _redis._process is None:
        _redis.start()


class Broker:
    """librdkafka's in-process broker: real protocol, no durability. After `stop` it can't be started again."""

    def __init__(self) -> None:
        self._broker: Any = confluent_kafka.Producer(
            {"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1, "log_level": 0}
        )
        brokers = self._broker.list_topics(timeout=10).brokers
        self.servers = ",".join(f"{each.host}:{each.port}" for each in brokers.values())

    def create(self, *topics: str) -> None:
        for topic in topics:
            self._broker.list_topics(topic, timeout=10)

    def stop(self) -> None:
        self._broker = None

    def records(self, topic: str, count: int) -> list[Any]:
        """The first records of a topic, from all partitions, in the order in which they arrive here."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.servers, "group.id": f"test-{time.monotonic_ns()}"}
        )
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([confluent_kafka.TopicPartition(topic, each, 0) for each in partitions])
        found: list[Any] = []
        deadline = time.monotonic() + 30
        while len(found) < count and time.monotonic() < deadline:
            found += [each for each in consumer.consume(count, timeout=0.2) if each.error() is None]
        consumer.close()
        return found


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    broker.create(*TOPICS)
    yield broker
    broker.stop()


class Publisher:
    """Shard that learns in this process and publishes versions, as a worker does."""

    def __init__(
        self, store: VersionStore, model: ModelSettings = MODEL, *, partition: int = 0, shards: int = 1
    ) -> None:
        self.store = store
        self.model = model
        self.shard = Shard(model, partition=partition, shards=shards)
        self.claim: Claim = store.claim(partition, worker="test", token=f"{time.monotonic_ns()}", now=1.0)
        self._moment = itertools.count(1_700_000_000_000, 1000)

    def learn(self, *clicks: tuple[str, str], topic: str = "clicks", **more: Any) -> Version:
        """Learn (user, item) events in one batch, and publish."""
        self.apply(*clicks, topic=topic, **more)
        return self.publish()

    def apply(self, *clicks: tuple[str, str], topic: str = "clicks", **more: Any) -> None:
        offset = self.shard.offsets.get(topic, 0)
        records = [
            Record(topic, offset + at, next(self._moment), json.dumps({"user": user, "item": item, **more}).encode())
            for at, (user, item) in enumerate(clicks)
        ]
        assert self.shard.apply(records, rate=1.0) == []

    def publish(self) -> Version:
        return self.store.publish(
            self.claim, self.shard.checkpoint(), settings=self.model.model_dump(), code_version="test", now=time.time()
        )


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[VersionStore]:
    store = VersionStore.connect(redis_server.url, "shop")
    yield store
    store.close()


@pytest.fixture
def publisher(store: VersionStore) -> Publisher:
    return Publisher(store)


def settings_for(redis_server: RedisServer, broker: Broker | None = None, **more: Any) -> Settings:
    return load_settings(
        {},
        redis=redis_server.url,
        kafka=broker.servers if broker else "127.0.0.1:1",
        model_name="shop",
        **{"poll_seconds": 0.05, "acknowledge_seconds": 5.0, **more},
    )


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """The application, started and stopped as a server would do it, and a client of it."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://corrente") as client,
    ):
        yield app, client
