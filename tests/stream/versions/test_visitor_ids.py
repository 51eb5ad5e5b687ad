"""Ids of visitors and sessions are in no table and in no byte of Redis; ids of items are."""

from __future__ import annotations

import json

from stream.ingest.records import Record
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.versions import VersionStore
from tests.stream.versions.redis_bytes import every_byte

SETTINGS = ModelSettings(
    max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, visitor_salt="a salt of this test, 0123456789"
)


def test_ids_of_visitors_are_in_no_table_and_in_no_byte_of_redis(shared_redis):
    users, sessions = [f"customer-{n}@shop" for n in range(9)], [f"session-of-{n}" for n in range(9)]
    events = [
        {
            "item": f"teapot-{n % 5}",
            "user": users[n % 9],
            "session": sessions[n % 9],
            "event_id": f"e{n}",
            "context": {"page": users[n % 9]},
        }
        for n in range(60)
    ]
    shard = Shard(SETTINGS)
    stamps = range(1_700_000_000_000, 1_700_000_060_000, 1000)
    records = [
        Record("clicks", offset, stamp, json.dumps(event).encode())
        for offset, (stamp, event) in enumerate(zip(stamps, events, strict=True))
    ]
    assert shard.apply(records, rate=1.0) == []
    assert shard.model().recommend(Query(user=users[0])).fallback is None, "the visitor is known"

    store = VersionStore.connect(shared_redis.url, "ids")
    store.redis.flushdb()
    claim = store.claim(0, worker="w", token="t", now=1.0, visitor_salt=SETTINGS.visitor_salt)
    stored = SETTINGS.model_dump(mode="json")
    store.publish(claim, shard.checkpoint(), settings=stored, code_version="1", now=2.0)
    searched = [table.raw().tobytes() for _, table in shard.tables.items()] + every_byte(store.redis)
    store.redis.flushdb()
    store.close()

    assert any(b"teapot-3" in value for value in searched), "items are found by this search"
    for name in [*users, *sessions]:
        assert [value for value in searched if name.encode() in value] == []
