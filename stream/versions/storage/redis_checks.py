"""Settings of a Redis that would one day cost versions, reported when a worker or a server starts.

This file decides which settings are dangerous. Who logs them is decided by the caller.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

OLDEST_RELEASE = (6, 2)


def redis_problems(redis: Any) -> list[str]:
    """One sentence for each dangerous setting, with what would be right; empty if all is well.

    Raises:
        redis.exceptions.RedisError: Redis can't be reached.
    """
    try:
        info = redis.info()
    except NoPermissionError:
        return ["the user may not run INFO, so its memory policy and persistence are unknown. Grant +info"]
    found = []
    release = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in release.split(".")[:2] if part.isdecimal())
    if numbers and numbers < OLDEST_RELEASE:
        found.append(f"Redis {release}: versions need Redis 6.2 or newer")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
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


def _saves_snapshots(redis: Any) -> bool:
    try:
        return bool(redis.config_get("save").get("save"))
    except ResponseError:  # a hosted Redis often hides its configuration, and keeps its data
        return True
