"""Properties of a Redis that cost versions, or would one day: read when a worker or a server starts.

A managed Redis often refuses CONFIG, and a user without the category `dangerous` is refused INFO. Everything here comes
from INFO where it can, and what is refused is unknown.

This file decides which settings are dangerous. Who logs or refuses them is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

OLDEST_RELEASE = (6, 2)

UNKNOWN_RUN = "?"
"""Stands for the id of a start of Redis, if INFO is refused."""


def redis_problems(redis: Any) -> list[str]:
    """One sentence for each dangerous setting, with what would be right; empty if all is well.

    Raises:
        redis.exceptions.RedisError: Redis can't be reached.
    """
    info = _info(redis)
    if not info:
        return ["Redis refuses INFO: whether it evicts keys, and keeps its data, is unknown. Allow it: ACL +info"]
    found = []
    release = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in release.split(".")[:2] if part.isdecimal())
    if numbers and numbers < OLDEST_RELEASE:
        found.append(f"Redis {release}: versions need Redis 6.2 or newer")
    if policy := _evicting(info):
        found.append(
            f"maxmemory-policy {policy}: Redis may evict parts of versions when memory runs short. "
            "Set noeviction, or a volatile policy"
        )
    if not info.get("aof_enabled") and not _saves_snapshots(redis):
        found.append(
            "nothing on disk: Redis loses every version when it restarts, and workers learn again from what Kafka "
            "still has. Set appendonly yes"
        )
    return found


def evicting_policy(redis: Any) -> str | None:
    """The `maxmemory-policy` of a Redis that may evict any key; None for another one, or if INFO is refused.

    Keys that expire are no part of a version yet, so the `volatile` policies are as good as none.

    Raises:
        redis.exceptions.RedisError: Redis can't be reached.
    """
    return _evicting(_info(redis, "memory"))


def run_id(redis: Any) -> str:
    """The id that Redis gives itself at each of its starts; `UNKNOWN_RUN` if INFO is refused.

    Raises:
        redis.exceptions.RedisError: Redis can't be reached.
    """
    return str(_info(redis, "server").get("run_id") or UNKNOWN_RUN)


def _evicting(info: Mapping[str, Any]) -> str | None:
    policy = str(info.get("maxmemory_policy", ""))
    return policy if policy.startswith("allkeys") else None


def _info(redis: Any, *section: str) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = redis.info(*section)
    except ResponseError:  # no right to ask
        return {}
    return found


def _saves_snapshots(redis: Any) -> bool:
    try:
        return bool(redis.config_get("save").get("save"))
    except ResponseError:  # a hosted Redis often hides its configuration, and keeps its data
        return True
