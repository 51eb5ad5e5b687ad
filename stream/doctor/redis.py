"""Checks of Redis: reachable, rights, memory, persistence, its clock, and whether the newest version can be read.

This file decides what is checked, on which keys rights are tried, and from which values on memory and clocks are
reported. Settings of Redis that would cost versions are decided in `stream.versions.storage.redis_checks`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from stream.doctor.findings import Finding, error, note, ok, warning
from stream.kafka.refusals import CannotLearn
from stream.kafka.shard_count import check_model
from stream.settings import Settings
from stream.state.tables import Delta
from stream.versions import VersionError, VersionStore
from stream.versions.salt import check_salt

FULL, NEARLY_FULL = 0.95, 0.80
"""Shares of the memory that Redis may use, from which on errors and warnings are reported."""

MOST_CLOCK_SECONDS = 1.0
"""Difference of two clocks that is no finding."""


def check_redis(settings: Settings, now: Callable[[], float]) -> list[Finding]:
    """Every check of Redis; only one finding if it doesn't answer.

    Args:
        settings: its address, and the model.
        now: gives seconds since the epoch.
    """
    store = VersionStore.connect(settings.redis_address, settings.model_name)
    try:
        try:
            info = store.redis.info()
        except NoPermissionError:
            info = {}  # a right that isn't needed
        except AuthenticationError as refused:
            return [error("redis.reachable", f"{settings.redis_address}: {refused}", MEND_LOGIN)]
        except ResponseError as refused:
            return [error("redis.reachable", f"{settings.redis_address}: {refused}", MEND_ADDRESS)]
        except (RedisError, OSError) as failed:
            return [error("redis.reachable", f"{settings.redis_address} doesn't answer: {failed}", MEND_ADDRESS)]
        release = info.get("redis_version", "of a release that it doesn't say")
        findings = [ok("redis.reachable", f"Redis {release} at {settings.redis_address}")]
        findings += _answered("redis.rights", lambda: check_rights(store))
        findings += check_memory(info)
        findings += _answered("redis.persistence", lambda: check_persistence(store, info))
        findings += _answered("redis.clock", lambda: check_clock(store, now))
        findings += _answered("redis.versions", lambda: check_versions(store, settings, now()))
        return findings
    finally:
        store.close()


MEND_LOGIN = "set CORRENTE_REDIS=redis://USER@host:6379/0 and CORRENTE_REDIS_PASSWORD, or CORRENTE_REDIS_PASSWORD_FILE"
MEND_ADDRESS = "start Redis, or set CORRENTE_REDIS=redis://host:6379/0 (rediss:// with TLS)"


def _answered(check: str, ask: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return ask()
    except NoPermissionError as refused:
        return [
            error(check, str(refused), "give the user this right: ACL SETUSER NAME +@all -@dangerous ~corrente:* &*")
        ]
    except (RedisError, OSError) as failed:
        return [error(check, f"Redis gave no answer: {failed}", "look at its log")]


def check_rights(store: VersionStore) -> list[Finding]:
    """Commands of each kind that publishing and reading need, tried on keys of the model that last ten seconds."""
    key = f"{store.keys.prefix}doctor:{secrets.token_hex(8)}"
    redis, hashed, ranked, counted = store.redis, key + ":hash", key + ":ranked", key + ":set"
    logged = key + ":stream"
    tried: dict[str, Callable[[], Any]] = {
        "SET": lambda: redis.set(key, b"1", ex=10),
        "GET and MGET": lambda: redis.mget([key]),
        "HSET": lambda: redis.hset(hashed, "field", 1),
        "HMGET": lambda: redis.hmget(hashed, ["field"]),
        "ZADD": lambda: redis.zadd(ranked, {"one": 1}),
        "ZRANGE": lambda: redis.zrange(ranked, 0, -1),
        "SADD": lambda: redis.sadd(counted, 1),
        "XADD and XTRIM": lambda: [redis.xadd(logged, {"field": 1}), redis.xtrim(logged, maxlen=1)],
        "EXPIRE": lambda: [redis.expire(name, 10) for name in (hashed, ranked, counted, logged)],
        "EVALSHA and SCRIPT LOAD": lambda: redis.register_script("return redis.call('EXISTS', KEYS[1])")(keys=[key]),
        "PUBLISH": lambda: redis.publish(key, b"1"),
        "DEL": lambda: redis.delete(key, hashed, ranked, counted, logged),
    }
    refused = {}
    for name, command in tried.items():
        try:
            command()
        except ResponseError as why:  # a missing right, or a Redis that takes no writes
            refused[name] = str(why)
    if not refused:
        return [ok("redis.rights", "this user may do what publishing and reading need")]
    reasons = dict.fromkeys(refused.values())
    return [
        error(
            "redis.rights",
            f"refused: {', '.join(refused)} ({'; '.join(reasons)})",
            f"give the user these commands on keys and channels that begin with {store.keys.prefix}, on the master",
        )
    ]


def check_memory(info: Mapping[str, Any]) -> list[Finding]:
    """Memory that Redis uses, beside what it may use, or what its machine has.

    >>> [finding.severity.name for finding in check_memory({"used_memory": 97, "maxmemory": 100})]
    ['ERROR']
    """
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    whole, of = (limit, "maxmemory") if limit else (int(info.get("total_system_memory", 0)), "the machine's memory")
    if not used or not whole:
        return [note("redis.memory", "Redis doesn't say how much memory it uses")]
    found = f"Redis uses {used / 1e6:,.0f} MB, {used / whole:.0%} of {of}"
    mend = "give it more memory (`corrente size` says how much), or keep fewer versions (CORRENTE_KEEP_…)"
    if used > FULL * whole:
        return [error("redis.memory", found, mend)]
    return [warning("redis.memory", found, mend) if used > NEARLY_FULL * whole else ok("redis.memory", found)]


def check_persistence(store: VersionStore, info: Mapping[str, Any]) -> list[Finding]:
    """Settings that would one day cost versions, and writes to disk that failed."""
    findings = []
    for problem in store.redis_problems():
        found, _, mend = problem.rpartition(". ")
        check = "redis.policy" if "maxmemory-policy" in problem else "redis.persistence"
        findings.append(warning(check, found or problem, mend if found else "use Redis 6.2 or newer"))
    failed = [name for name in ("rdb_last_bgsave_status", "aof_last_write_status") if info.get(name, "ok") != "ok"]
    if failed:
        findings.append(
            error("redis.persistence", f"Redis can't write to its disk ({', '.join(failed)})", "make room on its disk")
        )
    return findings or [ok("redis.persistence", "Redis evicts no version and writes to disk")]


def check_clock(store: VersionStore, now: Callable[[], float]) -> list[Finding]:
    """The clock of Redis beside this machine's. The time in between is half of that of the question."""
    before = now()
    seconds, microseconds = store.redis.time()
    return [clock_finding("Redis", seconds + microseconds / 1e6, (before + now()) / 2)]


def clock_finding(whose: str, theirs: float, ours: float) -> Finding:
    """A finding about two clocks that were read at the same moment, in seconds since the epoch."""
    apart = theirs - ours
    if abs(apart) <= MOST_CLOCK_SECONDS:
        return ok("clock", f"the clock of {whose} agrees with this machine's")
    direction = "ahead of" if apart > 0 else "behind"
    found = f"the clock of {whose} is {abs(apart):.1f} seconds {direction} this machine's"
    return warning("clock", found, "let both follow a time server (chrony or systemd-timesyncd)")


def check_versions(store: VersionStore, settings: Settings, now: float) -> list[Finding]:
    """The newest version: there, readable to the last byte, with this salt and this number of shards."""
    try:
        newest = store.latest()
        if newest is None:
            return [note("redis.versions", f"model {store.model} has no version yet", "start a worker and send events")]
        for shard, state in newest.shards.items():
            store.load(shard, state, _Nowhere())
        check_salt(newest.settings, settings.model.visitor_salt)
        check_model(store, settings.model_name, settings.shards)
    except (VersionError, CannotLearn, ValueError) as wrong:
        return [error("redis.versions", f"{type(wrong).__name__}: {wrong}", "follow docs/operations/troubleshoot.md")]
    age = now - newest.created_at
    return [ok("redis.versions", f"version {newest.number} of {store.model} is whole; it is {age:,.0f} seconds old")]


class _Nowhere:
    """A destination of tables that keeps nothing: reading verifies every checksum."""

    def begin(self) -> None: ...

    def put(self, age: int, part: Delta) -> None: ...
