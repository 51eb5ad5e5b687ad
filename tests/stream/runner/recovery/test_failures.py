"""Failures that are in no list: the record is isolated, learning goes on, and a shard without a way on says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stream.ingest.decoding import Decoder
from stream.kafka.letter_writer import Trouble
from stream.models.learning.learner import Learner
from stream.runner.publisher import Publisher
from stream.shard.shard import Shard
from tests.stream.runner.conftest import CLICKS, Bench, eventually


class Failing:
    """Learning that fails on some offsets of the clicks after it has written to the tables."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offsets: set[int] = set()
        self.error: type[Exception] = ZeroDivisionError
        self.failures = 0
        learn, kernel = Shard.learn, Learner.learn

        def learn_batch(shard: Shard, batch: Any, rate: float) -> Any:
            self._hit = bool(self.offsets & {record.offset for record in batch.event_records})
            return learn(shard, batch, rate)

        def learn_events(learner: Learner, events: Any) -> Any:
            outcomes = kernel(learner, events)
            if self._hit:
                learner.tables["items"].data[1:] = np.zeros(1, learner.tables["items"].data.dtype)
                self.failures += 1
                raise self.error("a kernel's bug")
            return outcomes

        monkeypatch.setattr(Shard, "learn", learn_batch)
        monkeypatch.setattr(Learner, "learn", learn_events)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(monkeypatch)


async def pass_time(bench: Bench, until: Callable[[], Any], what: str, step: float = 0.1) -> None:
    """Let time pass, fetch what Kafka has, and wait, until the condition holds."""

    def look() -> bool:
        if until():
            return True
        if bench.idle:
            bench.clock.advance(step)
            if bench.runner.has_room(CLICKS):
                bench.poll()
        return False

    await eventually(look, what)


def learned(bench: Bench) -> int:
    return int(bench.runner.published.get(CLICKS, 0))


async def test_a_record_that_a_kernel_raises_on_is_isolated_and_the_state_it_left_is_given_up(
    bench: Bench, failing: Failing
) -> None:
    await bench.open()
    await bench.learn(30)
    await bench.publish()
    failing.offsets = {47, 61}
    bench.write(100)
    await pass_time(bench, lambda: learned(bench) == 130, "everything to be published")
    assert sorted({(letter.offset, letter.reason) for letter in bench.letters.sent}) == [
        (47, "failed: ZeroDivisionError: a kernel's bug"),
        (61, "failed: ZeroDivisionError: a kernel's bug"),
    ]
    counts = bench.store.published[-1].state["counters"]["clicks"]
    assert counts == {"read": 130, "learned": 128, "duplicates": 0, "refused": 0, "dead_letters": 2}
    assert failing.failures <= 30
    failing.offsets = set()
    bench.assert_the_same_as_a_replay([47, 61])
    assert bench.runner.standing is None
    assert bench.metric("rejections_total", topic="clicks", reason="failed") >= 2


async def test_a_failure_that_does_not_come_again_isolates_nothing(bench: Bench, failing: Failing) -> None:
    await bench.open()
    failing.offsets = {5}
    bench.write(20)
    bench.poll()
    await eventually(lambda: failing.failures == 1, "the failure")
    failing.offsets = set()
    await pass_time(bench, lambda: learned(bench) == 20, "everything to be published")
    assert bench.letters.sent == []
    bench.assert_the_same_as_a_replay([])


async def test_a_record_that_no_version_can_be_published_with_is_isolated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, isolated = Publisher._store, 13

    def fails_with_it(publisher: Publisher, opened: Any, checkpoint: Any, confirmed: Any) -> Any:
        passed = checkpoint.state["offsets"].get("clicks", 0)
        dead = checkpoint.state["counters"]["clicks"]["dead_letters"]
        if passed > isolated and not dead:
            raise ValueError("not JSON: nan")
        return store(publisher, opened, checkpoint, confirmed)

    monkeypatch.setattr(Publisher, "_store", fails_with_it)
    await bench.open()
    bench.write(40)
    await pass_time(bench, lambda: learned(bench) == 40, "everything to be published")
    assert sorted({(letter.offset, letter.reason) for letter in bench.letters.sent}) == [
        (13, "failed: ValueError: not JSON: nan")
    ]
    bench.assert_the_same_as_a_replay([13])


async def test_a_record_after_which_a_table_would_hold_a_number_that_is_not_finite_is_isolated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, poisonous = Shard.learn, 13

    def learn_batch(shard: Shard, batch: Any, rate: float) -> Any:
        result = learn(shard, batch, rate)
        if any(record.offset == poisonous for record in batch.event_records):
            shard.tables["sums"].data[2, 4] = np.nan
            shard.tables["sums"].mark_rows([2])
        return result

    monkeypatch.setattr(Shard, "learn", learn_batch)
    await bench.open()
    bench.write(40)
    await pass_time(bench, lambda: learned(bench) == 40, "everything to be published")
    (letter,) = {(letter.offset, letter.reason) for letter in bench.letters.sent}
    assert letter[0] == poisonous
    assert letter[1].startswith("failed: NotFinite: row 2 of the table 'sums' holds a number that is NaN or infinite")
    for checkpoint in bench.store.published:
        assert all(
            np.isfinite(part.data.view("<f8")).all() for name, part in checkpoint.delta.items() if name == "sums"
        )
    bench.assert_the_same_as_a_replay([poisonous])


@pytest.mark.parametrize(("error", "reason"), [(ZeroDivisionError, "failures"), (MemoryError, "machine")])
async def test_a_shard_on_which_everything_fails_stands_still_says_so_and_goes_on_when_it_is_mended(
    bench: Bench, failing: Failing, error: type[Exception], reason: str
) -> None:
    await bench.open()
    await bench.learn(10)
    await bench.publish()
    failing.error, failing.offsets = error, set(range(10, 60))
    bench.write(50)
    await pass_time(bench, lambda: bench.metric("stopped", partition="3", reason=reason) == 1, "the shard to stop")
    standing = bench.runner.standing
    assert standing is not None
    assert (standing.reason, standing.command != "") == (reason, True)
    assert len({letter.name for letter in bench.letters.sent}) <= 10
    failing.offsets = set()
    await pass_time(bench, lambda: learned(bench) == 60, "everything to be published", step=5.0)
    assert bench.runner.standing is None
    assert bench.metric("stopped", partition="3", reason=reason) == 0
    counts = bench.store.published[-1].state["counters"]["clicks"]
    assert counts["learned"] + counts["dead_letters"] == counts["read"] == 60
    assert counts["dead_letters"] <= 10


async def test_letters_that_can_not_be_written_stop_the_shard_until_they_can(bench: Bench) -> None:
    await bench.open()
    await bench.learn(10)
    await bench.publish()
    bench.letters.may_acknowledge.clear()
    bench.letters.trouble = Trouble("dead letters can't be written to dead-letters: no such topic", "kafka-topics.sh …")
    bench.kafka.append(CLICKS, b"{")
    await pass_time(bench, lambda: bench.runner.standing is not None, "the shard to stop")
    assert bench.runner.standing[1:] == ("dead letters", bench.letters.trouble.reason, "kafka-topics.sh …")
    bench.write(20)
    bench.poll()
    await eventually(lambda: bench.idle)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.idle)
    assert bench.metric("records_total", topic="clicks", outcome="read") == 11, "nothing is learned meanwhile"
    assert bench.metric("unpublished_records", partition="3") == 1
    assert learned(bench) == 10
    bench.letters.trouble = None
    bench.letters.may_acknowledge.set()
    await pass_time(bench, lambda: learned(bench) == 31, "everything to be published")
    assert bench.runner.standing is None


async def test_a_decoder_that_fails_on_everything_stops_the_shard_and_makes_no_flood_of_letters(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.open()
    with monkeypatch.context() as patched:
        patched.setattr(Decoder, "_whole", _fails_unless_empty(Decoder._whole))
        bench.write(50)
        await pass_time(bench, lambda: bench.runner.standing is not None, "the shard to stop")
        assert bench.runner.standing.reason == "failures"
        assert bench.letters.sent == []
    await pass_time(bench, lambda: learned(bench) == 50, "everything to be published", step=5.0)
    assert bench.store.published[-1].state["counters"]["clicks"]["learned"] == 50


def _fails_unless_empty(whole: Callable[..., Any]) -> Callable[..., Any]:
    def decode(decoder: Decoder, records: Any) -> Any:
        if records:
            raise ZeroDivisionError("a bug")
        return whole(decoder, records)

    return decode
