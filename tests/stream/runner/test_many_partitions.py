"""One shard that learns from several partitions of each topic, with an offset, a journal and counters for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest
from faust.types import TP

from stream.runner.assignment import ShardAssignment, group_by_shard
from stream.runner.task import ShardRunner
from tests.stream.runner.conftest import SETTINGS, Bench, click, eventually


def assignment_of(clicks: int, purchases: int = 1, feedback: int = 1) -> ShardAssignment:
    counts = {"shop-clicks": clicks, "shop-purchases": purchases, "shop-feedback": feedback}
    assigned = [TP(name, number) for name, count in counts.items() for number in range(count)]
    return group_by_shard(assigned, SETTINGS.topics, 1)[0]


def partition(number: int) -> TP:
    return TP("shop-clicks", number)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(assignment=assignment_of(12, purchases=4))


def write(bench: Bench, number: int, count: int) -> None:
    bench.kafka.append(partition(number), *(click(each) for each in range(count)))


async def learn_all(bench: Bench) -> None:
    """Fetch and learn what there is, and wait until it is published."""
    ends = {tp: bench.kafka.end(tp) for tp in bench.runner.assignment.origins}

    async with asyncio.timeout(240.0):
        while any(bench.runner.published.get(tp, 0) != end for tp, end in ends.items()):
            bench.poll()
            await eventually(lambda: bench.settled, "the records to be learned")
            bench.clock.advance(1.0)
            await eventually(lambda: bench.settled, "what was learned to be published")


def learned(bench: Bench) -> float:
    return bench.metric("records_total", topic="clicks", outcome="learned")


async def test_offsets_counters_and_lag_are_kept_for_each_partition(bench: Bench) -> None:
    write(bench, 0, 20)
    write(bench, 7, 30)
    bench.kafka.append(partition(11), b"no event")
    await bench.open()
    await learn_all(bench)
    state = bench.store.published[-1].state
    assert state["offsets"] == {"clicks": 20, "clicks/7": 30, "clicks/11": 1}
    counted = {origin: (each["read"], each["learned"]) for origin, each in state["counters"].items() if each["read"]}
    assert counted == {"clicks": (20, 20), "clicks/7": (30, 30), "clicks/11": (1, 0)}
    (letter,) = bench.letters.sent
    assert (letter.topic, letter.partition, letter.offset) == ("shop-clicks", 11, 0)
    assert learned(bench) == 50
    assert [bench.metric("lag_records", topic="clicks", partition=str(each)) for each in range(12)] == [0.0] * 12


async def test_an_idle_partition_holds_no_other_up(bench: Bench) -> None:
    await bench.open()
    bench.poll()
    for _ in range(3):
        write(bench, 5, 10)
        await learn_all(bench)
    assert learned(bench) == 30


async def test_a_partition_whose_record_has_not_arrived_is_waited_for(bench: Bench) -> None:
    await bench.open()
    bench.poll()
    write(bench, 2, 5)
    write(bench, 3, 5)
    late = bench.kafka.fetch(partition(3))
    assert late is not None
    bench.runner.note_position(bench.kafka.position(partition(3))._replace(position=0, delivered=0))
    early = bench.kafka.fetch(partition(2))
    assert early is not None
    bench.runner.deliver(early)
    await eventually(lambda: bench.idle, "the runner to look")
    assert learned(bench) == 0
    bench.runner.deliver(late)
    await eventually(lambda: learned(bench) == 10, "both")


async def test_another_worker_goes_on_at_every_offset_and_a_replay_gives_the_same_tables(bench: Bench) -> None:
    for number in range(12):
        write(bench, number, 3 + number)
    await bench.open()
    await learn_all(bench)
    await bench.runner.drop()
    bench.runner = ShardRunner(bench.assignment, bench.resources)
    for number in range(0, 12, 2):
        write(bench, number, 5)
    await bench.open()
    assert bench.kafka.starts[-1] == {
        tp: 3 + tp.partition if tp.topic == "shop-clicks" else 0 for tp in bench.assignment.origins
    }
    await learn_all(bench)
    assert bench.store.published[-1].state["counters"]["clicks/4"]["learned"] == 12
    bench.assert_the_same_as_a_replay()


async def test_a_partition_that_is_added_is_learned_from_its_beginning_with_the_state_as_it_is(bench: Bench) -> None:
    write(bench, 0, 20)
    await bench.open()
    await learn_all(bench)
    claims = len(bench.store.claims)
    await bench.runner.halt(240.0)
    for number in (12, 13):
        bench.kafka.add_partition(partition(number), f"clicks/{number}")
    bench.runner.reassign(assignment_of(14, purchases=4))
    write(bench, 0, 5)
    write(bench, 13, 7)
    await bench.open()
    assert bench.kafka.starts[-1][partition(0)] == 20
    assert bench.kafka.starts[-1][partition(13)] == 0
    await learn_all(bench)
    assert bench.store.published[-1].state["offsets"] == {"clicks": 25, "clicks/13": 7}
    assert learned(bench) == 32
    assert len(bench.store.claims) == claims, "the state was not given up"


async def test_partitions_that_leave_stay_in_the_state(bench: Bench) -> None:
    write(bench, 0, 20)
    write(bench, 9, 10)
    await bench.open()
    await learn_all(bench)
    await bench.runner.halt(240.0)
    bench.runner.reassign(assignment_of(6, purchases=4))
    write(bench, 0, 5)
    await bench.open()
    await learn_all(bench)
    assert bench.store.published[-1].state["offsets"] == {"clicks": 25, "clicks/9": 10}
    assert bench.metric("lag_records", topic="clicks", partition="9") == 0.0
    assert "9" not in {
        sample.labels["partition"]
        for metric in bench.resources.metrics.lag.collect()
        for sample in metric.samples
        if sample.labels["topic"] == "clicks"
    }


async def test_records_that_retention_removed_are_an_outcome_of_the_state(bench: Bench) -> None:
    write(bench, 4, 20)
    await bench.open()
    await learn_all(bench)
    await bench.runner.drop()
    bench.runner = ShardRunner(bench.assignment, bench.resources)
    write(bench, 4, 30)
    bench.kafka.first[partition(4)] = 35
    await bench.open()
    await learn_all(bench)
    counters = bench.store.published[-1].state["counters"]["clicks/4"]
    assert counters == {"read": 50, "learned": 35, "duplicates": 0, "refused": 0, "dead_letters": 0, "lost": 15}
    assert bench.metric("records_total", topic="clicks", outcome="lost") == 15
    reads = [each.state["counters"].get("clicks/4", {"read": 0})["read"] for each in bench.store.published]
    assert all(before <= after for before, after in pairwise(reads))
