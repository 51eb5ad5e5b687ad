"""Records whose schemas are missing wait, and nothing behind them is learned before; what was learned is published."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks.harness.schema_registry import SchemaRegistry
from stream.catalogue.profile import Profile
from stream.catalogue.visitor_rules import encoded_rules
from stream.catalogue_store.live import LiveCatalogue
from stream.catalogue_store.store import RuleChanges
from stream.registry import lookup
from stream.registry.lookup import SchemaLookup
from stream.registry_settings import RegistrySettings
from tests.stream.ingest.schemas.avro_records import CLICK, encoded, framed
from tests.stream.runner.conftest import CLICKS, Bench, eventually


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[SchemaRegistry]:
    monkeypatch.setattr(lookup, "CONFIRM_SECONDS", 0.01)
    with SchemaRegistry() as running:
        yield running


@pytest.fixture
def in_avro(bench: Bench, registry: SchemaRegistry) -> Bench:
    bench.resources.schemas = SchemaLookup(RegistrySettings(schema_registry=registry.url))
    return bench


def click_in_avro(schema: int, number: int) -> bytes:
    return framed(schema, encoded(CLICK, {"item": f"item {number}", "user": "ada", "timestamp": None}))


def learned(bench: Bench) -> float:
    return bench.metric("records_total", topic="clicks", outcome="learned")


async def test_a_registry_that_is_away_holds_records_up_and_nothing_is_lost_or_learned_twice(
    in_avro: Bench, registry: SchemaRegistry
) -> None:
    bench = in_avro
    schema = registry.register(json.dumps(CLICK))
    registry.failing = 503
    await bench.open()
    await bench.learn(5)
    bench.kafka.append(CLICKS, *(click_in_avro(schema, number) for number in range(4)))
    bench.write(3)
    bench.poll()
    await eventually(lambda: bench.runner.standing is not None, "the shard to stand still")
    standing = bench.runner.standing
    assert standing is not None
    assert (standing.reason, learned(bench)) == ("schema registry", 5)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.runner.published.get(CLICKS) == 5, "what was learned to be published")
    registry.failing = None
    bench.clock.advance(10.0)
    await eventually(lambda: learned(bench) == 12, "the rest to be learned")
    await eventually(lambda: bench.runner.standing is None, "the shard to go on")
    assert bench.letters.sent == []


async def test_an_unknown_schema_is_a_letter_and_the_others_are_learned(
    in_avro: Bench, registry: SchemaRegistry
) -> None:
    bench = in_avro
    schema = registry.register(json.dumps(CLICK))
    await bench.open()
    bench.kafka.append(CLICKS, click_in_avro(schema, 1), framed(77, b"x"), click_in_avro(schema, 2))
    bench.poll()
    await eventually(lambda: learned(bench) == 2, "the others to be learned")
    assert bench.metric("records_total", topic="clicks", outcome="dead_letters") == 1
    assert bench.runner.standing is None


async def test_a_halted_shard_asks_no_more_and_goes_on_where_it_was(in_avro: Bench, registry: SchemaRegistry) -> None:
    bench = in_avro
    schema = registry.register(json.dumps(CLICK))
    registry.failing = 503
    await bench.open()
    bench.kafka.append(CLICKS, click_in_avro(schema, 1))
    bench.poll()
    await eventually(lambda: bench.runner.standing is not None, "the shard to stand still")
    await bench.runner.halt(1.0)
    registry.failing = None
    bench.clock.advance(10.0)
    await bench.open()
    bench.poll()
    await eventually(lambda: learned(bench) == 1, "the record to be learned")


class Rules:
    """Rules of visitors as the store of a catalogue gives them."""

    def __init__(self) -> None:
        self.number, self.refusing = 0, set[str]()

    def rule_changes(self, catalogue: str, number: int) -> RuleChanges:
        if number == self.number:
            return RuleChanges(catalogue, number, {}, whole=False)
        rules = encoded_rules(Profile(profiling="off"))
        return RuleChanges("catalogue", self.number, dict.fromkeys(map(str.encode, self.refusing), rules), whole=True)


async def test_visitors_who_refuse_profiling_are_counted_only_and_a_replay_needs_no_documents(bench: Bench) -> None:
    rules = Rules()
    live = bench.resources.catalogue = LiveCatalogue(rules, poll_seconds=1.0)  # type: ignore[arg-type]
    await bench.open()
    for number, refusing in enumerate([["visitor 1"], ["visitor 1", "visitor 3"], ["visitor 2"], []], 1):
        rules.number, rules.refusing = number, set(refusing)
        live._catch_up_with_rules()
        await bench.learn(20)
        await bench.publish()
    journals = [each.journal.counted for each in bench.store.published]
    assert [len(each.get("clicks", ())) for each in journals] == [4, 8, 4, 0]
    assert all(place % 5 == 1 for place in journals[0]["clicks"])
    assert learned(bench) == 80
    bench.assert_the_same_as_a_replay()
