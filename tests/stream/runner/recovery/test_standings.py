"""Standings: each says why a shard stands still, where, since when, and what mends it, to probes and to servers."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from redis.exceptions import ConnectionError as RedisConnectionError

from benchmarks.harness.schema_registry import SchemaRegistry
from stream.health.endpoints import readiness
from stream.health.reporting import report_of
from stream.health.standing import NO_PROGRESS_SECONDS, REASONS, Standing
from stream.registry.lookup import SchemaLookup
from stream.registry_settings import RegistrySettings
from stream.runner.recovery.causes import cause_of
from stream.runner.recovery.errors import EvictingRedis, KafkaLostRecords
from stream.runner.task import ShardRunner
from stream.versions import CorruptVersion, Fenced, LostData, UnknownFormat, WrongSalt
from stream.versions.storage.reports import NO_WORKER, stopped_among
from stream.versions.storage.requests import ReportRow
from tests.stream.kafka.test_letter_writer import FakeProducer, letter_of, writer
from tests.stream.runner.conftest import ASSIGNMENT, CLICKS, SETTINGS, Bench, eventually
from tests.stream.runner.recovery.test_failures import Failing, pass_time

ALL = ["shop-clicks-3", "shop-feedback-3", "shop-purchases-3"]


class Said(NamedTuple):
    """Pieces that have to stand in a standing: the cause, the place, and what mends it."""

    cause: str
    place: str
    mend: str


STANDINGS = {
    "redis": Said("no answer", '"partition": 3', "check CORRENTE_REDIS"),
    "kafka": Said("no broker", '"partition": 3', "check CORRENTE_KAFKA"),
    "topics": Said("clicks-3 ends at 5", '"partition": 3', "set another CORRENTE_MODEL_NAME"),
    "version": Said("other bytes", '"partition": 3', "restore a copy of Redis"),
    "version, lost": Said("chunk 7 is gone", '"partition": 3', "an older state is taken"),
    "redis, evicting": Said("allkeys-lru", '"partition": 3', "set maxmemory-policy noeviction"),
    "wrong salt": Said("another visitor salt", '"partition": 3', "set CORRENTE_MODEL__VISITOR_SALT"),
    "unknown format": Said("format 9", '"partition": 3', "start the release that wrote the model"),
    "other settings": Said("MAX_ITEMS", '"partition": 3', "set the settings that the detail names"),
    "refused": Said("claimed by another", '"partition": 3', "the shard is claimed again"),
    "machine": Said("MemoryError", '"partition": 3', "give the worker more memory"),
    "failures": Said("records are not to blame", '"partition": 3', "report the traceback"),
    "dead letters": Said("can't be written to dead-letters", '"partition": 3', "--create --topic dead-letters"),
    "dead letters, no right": Said("TopicAuthorizationFailed", '"partition": 3', "kafka-acls.sh --bootstrap"),
    "dead letters, no answer": Said("KafkaConnection", '"partition": 3', "--describe --topic dead-letters"),
    "schema registry": Said("can't be reached", '"partition": 3', "check CORRENTE_SCHEMA_REGISTRY"),
    "no progress": Said("records wait", '"partition": 3', "restart the worker"),
}
"""Standings by reason, or by what is more exact. Since when they are is a field of each."""


async def standing_of(name: str, bench: Bench, patched: pytest.MonkeyPatch) -> Standing:
    """A standing for this reason, from the part that says it."""
    errors: dict[str, Exception] = {
        "redis": RedisConnectionError("no answer"),
        "kafka": KafkaConnectionError("no broker"),
        "topics": KafkaLostRecords("clicks-3 ends at 5"),
        "version": CorruptVersion("Redis holds other bytes than were published"),
        "version, lost": LostData("chunk 7 is gone"),
        "redis, evicting": EvictingRedis("maxmemory-policy allkeys-lru"),
        "wrong salt": WrongSalt("another visitor salt"),
        "unknown format": UnknownFormat("the store has format 9"),
    }
    if name in errors:
        return Standing(1000.0, *cause_of(errors[name], bench.resources))
    if name == "other settings":
        await bench.open()
        await bench.learn(20)
        await bench.publish()
        await bench.runner.drop()
        bench.runner = ShardRunner(ASSIGNMENT, bench.resources)
        model = SETTINGS.model.model_copy(update={"max_items": 32})
        patched.setattr(bench.resources, "settings", SETTINGS.model_copy(update={"model": model}))
        bench.runner.start()
        await eventually(lambda: bench.runner.standing is not None and bench.idle, "the shard to stop")
    elif name in ("machine", "failures"):
        failing = Failing(patched)
        failing.error, failing.offsets = (MemoryError if name == "machine" else ZeroDivisionError), set(range(60))
        await bench.open()
        bench.write(60)
        await pass_time(bench, lambda: bench.runner.standing is not None, "the shard to stop")
    elif name == "refused":
        bench.store.fail("publish", Fenced("claimed by another worker"))
        await bench.open()
        bench.write(3)
        await pass_time(bench, lambda: bench.runner.standing is not None, "the shard to stop")
    elif name == "schema registry":
        with SchemaRegistry() as registry:
            settings = RegistrySettings(schema_registry=registry.url)
        bench.resources.schemas = SchemaLookup(settings)
        await bench.open()
        bench.kafka.append(CLICKS, b"\0\0\0\0\7x")
        bench.poll()
        await eventually(lambda: bench.runner.standing is not None, "the shard to stop")
    elif name == "no progress":
        await bench.open()
        bench.write(3)
        bench.runner.note_position(bench.kafka.position(CLICKS))
        await pass_time(bench, lambda: bench.runner.standing is not None, "the shard to stop", step=NO_PROGRESS_SECONDS)
    elif name.startswith("dead letters"):
        error = {
            "dead letters": UnknownTopicOrPartitionError(),
            "dead letters, no right": TopicAuthorizationFailedError("dead-letters"),
            "dead letters, no answer": KafkaConnectionError("no broker"),
        }[name]
        letters = writer(FakeProducer())
        letters._note_trouble(error, [letter_of(1)])
        await bench.open()
        bench.letters.may_acknowledge.clear()
        bench.letters.trouble = letters.trouble
        bench.kafka.append(CLICKS, b"{")
        await pass_time(bench, lambda: bench.runner.standing is not None, "the shard to stop")
    standing = bench.runner.standing
    assert standing is not None
    return standing


@pytest.mark.parametrize("name", STANDINGS)
async def test_a_standing_says_why_where_since_when_and_what_mends_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "no progress":  # what Kafka has never arrives
        monkeypatch.setattr(bench, "poll", lambda: None)
    standing = await standing_of(name, bench, monkeypatch)
    status, body = readiness({3: standing})
    assert status.startswith("503")
    for what, piece in STANDINGS[name]._asdict().items():
        assert piece in json.dumps(body), f"no {what} {piece!r} in {body}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", body["stopped"][0]["since"])


async def test_servers_are_told_in_which_topic_partitions_records_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.fail("claim", RedisConnectionError("no answer"))
    bench.runner.start()
    await eventually(lambda: bench.runner.standing is not None and bench.idle, "the shard to stop")
    report = report_of(bench.runner)
    assert (report.reason, report.partitions) == ("redis", ALL), "nothing is known of a shard that was never open"
    assert bench.runner.claim is None
    bench.clock.advance(1.0)
    await eventually(lambda: bench.kafka.starts and bench.idle, "the shard to be opened")
    await bench.learn(3)
    bench.write(3)
    bench.runner.note_position(bench.kafka.position(CLICKS))
    monkeypatch.setattr(bench, "poll", lambda: None)
    await pass_time(bench, lambda: report_of(bench.runner).partitions == ["shop-clicks-3"], "the lag to be seen")
    assert bench.runner.claim is not None


def test_every_reason_for_a_standing_was_provoked() -> None:
    assert {name.partition(",")[0] for name in STANDINGS} >= set(REASONS)


def test_a_shard_without_a_worker_says_so_with_everything_that_an_operator_needs() -> None:
    row = ReportRow(b"3", b"60.5", b"host:1", b"1", b"1", b'{"partitions": ["shop-clicks-3"]}')
    (found,) = stopped_among([row], "shop", 1060.5, silence_counts=True)
    assert (found.shard, found.since, found.reason, found.partitions) == (3, 1000.0, NO_WORKER, ["shop-clicks-3"])
    assert "worker host:1 had shard 3 of model 'shop' and reports it no longer" in found.detail
    assert "CORRENTE_MODEL_NAME=shop corrente worker" in found.mend
