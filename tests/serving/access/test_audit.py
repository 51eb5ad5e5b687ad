"""Administrative calls over HTTP are recorded with the key, and those that are refused change nothing."""

from __future__ import annotations

import time

from stream.access.acts import Act, Caller
from stream.access.audit import AuditTrail
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_key
from stream.versions import PINNED, VersionStore
from tests.serving.awaiting import served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for

REASON = {"who": "Ada", "why": "bad lists"}


async def test_a_rollback_over_http_is_recorded_with_key_owner_reason_and_address(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    publisher.learn(("u", "a"), ("v", "b"))
    version = publisher.learn(("w", "b"))
    key = create_key(KeyStore(store.space), scopes=["all"], owner="operators", now=time.time(), caller=Caller("a"))
    headers = {"authorization": f"Bearer {key.text}"}
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number, headers=headers)
        assert (await client.post("/v1/versions/1/rollback", json=REASON)).status_code == 401
        assert store.aliases().get(PINNED) is None, "a refused call changes nothing"
        done = await client.post("/v1/versions/1/rollback", json=REASON, headers=headers)
        assert done.json()["pinned"] == 1
        assert (await client.request("DELETE", "/v1/pin", json={}, headers=headers)).status_code == 200
    follow, rollback, made = [record.act for record in AuditTrail(store.space).newest(10)]
    who = f"key {key.record.id} of operators"
    assert rollback == Act(who, "alias.move", "pinned to version 1", "bad lists", "127.0.0.1", "Ada")
    assert follow == Act(who, "alias.move", "pinned to no version", "", "127.0.0.1")
    assert made.what == "keys.create"


async def test_on_an_open_server_the_record_says_that_anyone_did_it(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    version = publisher.learn(("u", "a"), ("v", "b"))
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        await client.post("/v1/versions/1/rollback", json=REASON)
    (record,) = AuditTrail(store.space).newest(10)
    assert (record.act.who, record.act.called, record.act.why) == ("anyone on this machine", "Ada", "bad lists")
    assert abs(record.at - time.time()) < 600
