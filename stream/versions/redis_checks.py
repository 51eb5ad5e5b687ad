"""What about a Redis would one day cost versions: told at start, before it does."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

OLDEST = (6, 2)


def cautions(redis: Any) -> list[str]:
    """Sentences for the log, each with what would be right; none if all is well."""
    info = redis.info()
    found = []
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < OLDEST:
        found.append(f"Redis {version}: versions need Redis 6.2 or newer")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        found.append(
            f"maxmemory-policy {policy}: Redis may throw away parts of versions when memory runs short. "
            "Set noeviction, or a volatile policy"
        )
    if not info.get("aof_enabled") and not _saves(redis):
        found.append(
            "nothing on disk: Redis forgets every version when it restarts, and workers learn again from what Kafka "
            "still has. Set appendonly yes"
        )
    return found


def _saves(redis: Any) -> bool:
    try:
        return bool(redis.config_get("save").get("save"))
    except ResponseError:  # a hosted Redis often hides its configuration, and keeps its data
        return True
