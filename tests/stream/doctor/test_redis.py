"""The doctor's checks of Redis, on a real one: well, refused, full, and with versions that can't be read."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from stream.doctor.findings import Finding, Severity
from stream.doctor.redis import check_redis, clock_finding
from stream.models.settings import ModelSettings
from stream.settings import load_settings
from stream.shard.shard import Shard
from stream.versions import VersionStore
from tests.stream.versions.conftest import RedisServer

SALT = "a salt of this test, 0123456789"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    yield running
    running.kill()


@pytest.fixture(autouse=True)
def _as_new(server) -> Iterator[None]:
    yield
    with server.client() as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.acl_deluser("doctor")


def checked(url: str, **model) -> dict[str, Finding]:
    settings = load_settings({}, redis=url, model={"visitor_salt": SALT, **model})
    findings = check_redis(settings, time.time)
    return {finding.check: finding for finding in findings}


def published(server: RedisServer, salt: str = SALT) -> VersionStore:
    small = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, visitor_salt=salt)
    store = VersionStore.connect(server.url, "default")
    claim = store.claim(0, worker="w", token="t", now=1.0)
    checkpoint = Shard(small).checkpoint()
    store.publish(claim, checkpoint, settings=small.model_dump(mode="json"), code_version="1", now=time.time())
    return store


def test_a_redis_that_is_well_has_one_warning_and_that_is_the_disk(server):
    published(server).close()
    found = checked(server.url)
    assert {check for check, each in found.items() if each.severity > Severity.OK} == {"redis.persistence"}
    assert "Set appendonly yes" in found["redis.persistence"].mend
    assert found["redis.versions"].found.startswith("version 1 of default is whole")
    with server.client() as client:
        assert client.keys("*doctor*") == [], "nothing is left behind"


def test_a_model_without_versions_is_worth_a_note(server):
    assert checked(server.url)["redis.versions"].severity is Severity.NOTE


def test_an_address_where_nothing_listens_is_one_finding(server, tmp_path):
    gone = RedisServer(tmp_path)
    gone.kill()
    found = checked(gone.url)
    assert list(found) == ["redis.reachable"]
    assert found["redis.reachable"].severity is Severity.ERROR
    assert "CORRENTE_REDIS" in found["redis.reachable"].mend


def test_a_wrong_password_is_named_and_not_printed(server):
    with server.client() as client:
        client.acl_setuser("doctor", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"])
    found = checked(server.url.replace("redis://", "redis://doctor:wrong-one@"))
    assert list(found) == ["redis.reachable"]
    assert "invalid username-password pair" in found["redis.reachable"].found
    assert "CORRENTE_REDIS" in found["redis.reachable"].mend
    assert not any("wrong-one" in text for text in found["redis.reachable"][2:])


def test_missing_rights_are_named_by_their_commands(server):
    with server.client() as client:
        client.acl_setuser(
            "doctor",
            enabled=True,
            passwords=["+right"],
            categories=["+@all"],
            commands=["-publish", "-hset"],
            keys=["corrente:*"],
            channels=["*"],
        )
    found = checked(server.url.replace("redis://", "redis://doctor:right@"))
    assert found["redis.rights"].severity is Severity.ERROR
    assert "HSET" in found["redis.rights"].found
    assert "PUBLISH" in found["redis.rights"].found
    assert "ZADD" not in found["redis.rights"].found


def test_a_redis_that_is_nearly_full_and_may_evict_versions_is_reported(server):
    with server.client() as client:
        used = client.info()["used_memory"]
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", int(used * 1.1))
    found = checked(server.url)
    assert found["redis.memory"].severity >= Severity.WARNING
    assert "of maxmemory" in found["redis.memory"].found
    assert "allkeys-lru" in found["redis.policy"].found
    assert "noeviction" in found["redis.policy"].mend


def test_a_version_with_a_part_missing_or_of_another_salt_or_size_is_an_error(server):
    store = published(server)
    assert checked(server.url)["redis.versions"].severity is Severity.OK
    other = checked(server.url, visitor_salt="another salt of this test, 9876")["redis.versions"]
    assert other.severity is Severity.ERROR
    assert "another visitor salt" in other.found
    with server.client() as client:
        client.delete(*client.keys("*chunk*"))
    damaged = checked(server.url)["redis.versions"]
    assert damaged.severity is Severity.ERROR
    assert "is gone" in damaged.found
    store.close()


def test_clocks_that_differ_are_a_warning_with_the_direction():
    assert clock_finding("Redis", 100.0, 100.5).severity is Severity.OK
    behind = clock_finding("Redis", 100.0, 107.0)
    assert (behind.severity, behind.found) == (
        Severity.WARNING,
        "the clock of Redis is 7.0 seconds behind this machine's",
    )
