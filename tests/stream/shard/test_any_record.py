"""Any record: a partition always gets past it, from its bytes to a published version, and good ones beside it count.

Records in the long form are mutated: every field at its limits, wrong types, missing, doubled or unknown fields, nested
values, damaged bytes, times without bounds. `RECORDS=…` sets how many, `SEED=…` repeats a run; `make faults` takes a
million.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.events import MAX_NESTING, TOPIC_TYPES
from stream.ingest.record_checks import RECORD_MAX_BYTES
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import VersionStore
from tests.stream.versions.conftest import RedisServer

pytestmark = pytest.mark.unmeasured

SETTINGS = ModelSettings(max_items=500, max_visitors=700, max_sessions=300, max_event_ids=4096)
NOW = 1_700_000_000
BATCH = 1000
PUBLISHED_BATCHES = 5

LIMITS = [
    *("null", "true", "0", "-0.0", "-1", "1", "1.5", "1e-320", "1e308", "-1e308", "1e999", "NaN", "-Infinity"),
    *("2147483648", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
    *("-9223372036854775809", "4294967294", "4294967295", "4294967295.9", "4294967296", "3.5e38", "1" + "0" * 255),
    *("1" + "0" * 256, "9" * 4400, "1e4", "0.1e1", f"{NOW}", f"{NOW + 300}", f"{NOW + 301}", f"{NOW}000"),
    *('""', '" "', '"x"', f'"{"x" * 256}"', f'"{"x" * 257}"', f'"{"é" * 128}"', f'"{"é" * 129}"', f'"{"😀" * 64}"'),
    *('"\\u0000"', '"a\\u001fb"', '"\\u007f"', '"\\u0085"', '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d\\ude00"'),
    *('"\\u202e"', '"\\u200b"', '"\\ufeff"', '"\\uffff"', '"a\\nb"', '"rating"', '"view"', '"return"', f'"{"k" * 65}"'),
    *('"NULL"', '"\\\\N"', '"0"', '"9,99"', '" 5 "', '"20240114"', "20240114", f"{NOW}000000000", '"2024-01-14 UTC"'),
    *('"2026-01-31T12:00:00Z"', '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', '"yesterday"'),
    *('"1969-12-31T23:59:59Z"', '"2106-02-07T06:28:15Z"', '"2106-02-07T06:28:16Z"', '"20231114T221320"', '"12:00"'),
    *("[]", "{}", '["a"]', '{"a": 1}', "[" * 1000 + "]" * 1000, '{"a":' * 300 + "1" + "}" * 300),
    *(
        "[" * (MAX_NESTING - 1) + "]" * (MAX_NESTING - 1),
        "[" * MAX_NESTING + "]" * MAX_NESTING,
        "[1, 2",
        "truth",
        "'a'",
    ),
]
TIMES = [-1, 0, -(2**63), 2**63 - 1, 4_294_967_295_000, 4_294_967_296_000, NOW * 1000, 1]
MARKED = b'\xef\xbb\xbf{"item": "marked", "user": "x"}'
WHOLE = [
    MARKED,
    None,
    b"",
    b" ",
    b"null",
    b"[]",
    b"{}",
    b"7",
    b'"a"',
    b"\xff\xfe",
    b"\x00",
    b"\xef\xbb\xbf{}",
    b"{" * 100_000,
]


class Producer:
    """A producer of good records in the long form, and of what can become of them."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._offsets = dict.fromkeys(TOPIC_TYPES, 0)
        self._count = 0

    def record(self) -> tuple[Record, bool]:
        """The next record, and whether it is untouched."""
        draw = self._draw
        topic = draw.choices(list(TOPIC_TYPES), [6, 2, 2])[0]
        fields = self._fields(topic)
        seconds = NOW + self._count
        self._count += 1
        offset = self._offsets[topic]
        self._offsets[topic] += draw.choice([1, 1, 1, 2])
        value: bytes | None = _json(fields)
        timestamp_ms = seconds * 1000
        good = draw.random() < 0.5
        if not good:
            value = self._mutated(fields)
            if draw.random() < 0.1:
                timestamp_ms = draw.choice(TIMES)
        return Record(topic, offset, timestamp_ms, value, b"key"), good

    def _fields(self, topic: str) -> list[tuple[str, str]]:
        draw = self._draw
        user = draw.randrange(900)
        fields = {
            "item": f"item {(user + draw.randrange(7)) % 700}",
            "user": f"user {user}",
            "session": f"session {user} {self._count // 3000}",
            "timestamp": NOW + self._count - draw.randrange(50),
            "event_id": f"event {draw.randrange(self._count + 9)}",
            "answer": "a" * 22,
            "position": draw.randrange(20),
            "context": {"page": "home", "tags": ["a", {"b": None}]},
        }
        if topic == "purchases":
            fields |= {"quantity": 2, "price": 9.5, "currency": "EUR"}
        if topic == "feedback":
            kind = draw.choice(["view", "cart", "like", "dislike", "rating", "return", "own"])
            fields |= {"kind": kind, "value": draw.randrange(1, 6)}
        return [(json.dumps(name), json.dumps(value)) for name, value in fields.items()]

    def _mutated(self, fields: list[tuple[str, str]]) -> bytes | None:
        draw = self._draw
        how = draw.random()
        if how < 0.03:
            return draw.choice(WHOLE)
        if how < 0.035:
            return _json([*fields, ('"long"', '"' + "x" * RECORD_MAX_BYTES + '"')])
        if how < 0.15:
            value = bytearray(_json(fields))
            for _ in range(draw.randint(1, 4)):
                at = draw.randrange(len(value))
                value[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
            return bytes(value[: draw.choice([len(value), draw.randrange(len(value) + 1)])])
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            place = draw.randrange(len(fields))
            change = draw.random()
            if change < 0.15:
                del fields[place]
            elif change < 0.3:
                fields.insert(place, (draw.choice([fields[place][0], '"unknown"', '""']), draw.choice(LIMITS)))
            else:
                fields[place] = fields[place][0], draw.choice(LIMITS)
        return _json(fields)


def _json(fields: list[tuple[str, str]]) -> bytes:
    return ("{" + ", ".join(f"{name}: {value}" for name, value in fields) + "}").encode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VersionStore]:
    server = RedisServer(tmp_path)
    store = VersionStore.connect(server.url, "any-record")
    yield store
    store.close()
    server.kill()


@pytest.mark.fault
def test_a_partition_gets_past_any_record_and_good_ones_beside_it_count_as_if_they_were_alone(
    store: VersionStore,
) -> None:
    seed, count = int(os.environ.get("SEED") or time.time_ns()), int(os.environ.get("RECORDS") or 20_000)
    print(f"SEED={seed} RECORDS={count} repeats these records")
    producer = Producer(random.Random(seed))
    claim = store.claim(
        0, worker="any", token="any", now=0.0, known_offsets={}, known_number=0, visitor_salt=SETTINGS.visitor_salt
    )
    among, alone = Shard(SETTINGS), Shard(SETTINGS)
    rejected = 0
    for number in range(-(-count // BATCH)):
        drawn = [producer.record() for _ in range(min(BATCH, count - number * BATCH))]
        records = [record for record, _ in drawn]
        rejections = among.apply(records, rate=0.1)
        rejected += len(rejections)
        bad = {rejection.record[:2] for rejection in rejections}
        for rejection in rejections:
            assert not rejection.isolated, (rejection.reason, rejection.record)
            assert 0 < len(rejection.reason) < 1000, rejection.record
        for record, good in drawn:
            assert not (good and record[:2] in bad), record
        alone.apply([record for record in records if record[:2] not in bad], rate=0.1)
        if (number + 1) % PUBLISHED_BATCHES == 0:
            checkpoint = among.checkpoint()
            json.dumps(checkpoint.state, allow_nan=False)
            store.publish(claim, checkpoint, settings=SETTINGS.model_dump(mode="json"), code_version="1", now=1.0)
    assert count * 0.2 < rejected < count * 0.5
    assert among.tables == alone.tables
    for topic, counts in among.counters.items():
        assert counts["unlearned:null_id"] > 0, topic
        outcomes = sum(count for outcome, count in counts.items() if outcome != "read")
        assert counts["read"] == outcomes > 0, topic
        assert counts["learned"] == alone.counters[topic]["learned"], topic
    assert claim.head is not None
    published = Tables([table.spec for table in among.tables.values()])
    store.load(0, claim.head, TableWriter(published))
    for name, table in published.items():
        for field, column in _columns(table.data):
            assert np.isfinite(column).all(), (name, field)


def _columns(data: np.ndarray[Any, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The columns of a table that hold floats."""
    if data.dtype.names is None:
        if data.dtype.kind == "f":
            yield "", data
        return
    for field in data.dtype.names:
        if data[field].dtype.kind == "f":
            yield field, data[field]
