"""A real Redis for keys and acts, empty for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import redis

from benchmarks.harness.servers import RedisServer


class RedisAt(NamedTuple):
    """Address of the Redis, and a client of it."""

    url: str
    client: redis.Redis


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    with RedisServer(tmp_path_factory.mktemp("redis-access")) as server:
        yield server


@pytest.fixture
def redis_at(_server: RedisServer) -> Iterator[RedisAt]:
    with redis.Redis.from_url(_server.url) as client:
        client.flushall()
        yield RedisAt(_server.url, client)
