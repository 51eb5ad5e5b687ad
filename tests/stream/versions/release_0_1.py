"""A Redis as release 0.1 left it, with the results that this release read from it; see `data/README.md`."""

from __future__ import annotations

import hashlib
import lzma
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import redis

from stream.state.tables import Tables

FILE = Path(__file__).parent / "data" / "release-0.1.msgpack.xz"
MODEL = "default"


@cache
def fixture() -> dict[str, Any]:
    return msgspec.msgpack.decode(lzma.decompress(FILE.read_bytes()))


def restore(client: redis.Redis) -> None:
    """Write every key of the fixture."""
    for key, stored in fixture()["redis"].items():
        value = stored["value"]
        match stored["type"]:
            case "hash":
                client.hset(key, mapping=value)
            case "zset":
                client.zadd(key, dict(value))
            case "list":
                client.rpush(key, *value)
            case "string":
                client.set(key, value)


LATER_TABLES = {"clock"}
"""Tables that the release did not have."""


def checksums(tables: Tables) -> dict[str, str]:
    """Checksum of each table that the release had."""
    return {
        name: hashlib.sha256(table.raw().tobytes()).hexdigest()
        for name, table in tables.items()
        if name not in LATER_TABLES
    }
