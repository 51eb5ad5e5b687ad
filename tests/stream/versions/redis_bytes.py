"""Every byte in a Redis, for tests that search them all."""

from __future__ import annotations

from typing import Any

import cramjam

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def every_byte(redis: Any) -> list[bytes]:
    """Names and values of all keys, hash fields, members and list entries; packed chunks also unpacked."""
    found = []
    for key in redis.scan_iter("*"):
        found.append(key)
        match redis.type(key):
            case b"hash":
                found += [cell for field in redis.hgetall(key).items() for cell in field]
            case b"zset":
                found += redis.zrange(key, 0, -1)
            case b"list":
                found += redis.lrange(key, 0, -1)
            case b"stream":
                found += [cell for _, fields in redis.xrange(key) for field in fields.items() for cell in field]
            case b"string":
                value = redis.get(key)
                found.append(value)
                if value.startswith(ZSTD_MAGIC):
                    found.append(bytes(cramjam.zstd.decompress(value)))
            case other:
                raise AssertionError(f"{key} is a {other}, which this function does not read")
    return found
