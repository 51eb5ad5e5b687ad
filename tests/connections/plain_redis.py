"""One kind of Redis for the matrix: plain, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.servers import RedisServer

SIDES = ("plain",)


@dataclass
class PlainRedis:
    """Settings that reach it; it has no credentials that could be wrong."""

    environment: dict[str, str]
    wrong: dict[str, str] = field(default_factory=dict)
    wrong_says: str = ""


@contextmanager
def redis_side(name: str, folder: Path) -> Iterator[PlainRedis]:
    """A Redis with data of its own, killed at the end."""
    assert name in SIDES
    with RedisServer(folder) as server:
        yield PlainRedis({"CORRENTE_REDIS": server.url})
