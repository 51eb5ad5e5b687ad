"""One shard learns any set of partitions: none of them is lost, learned twice, or held up by one that is idle.

Faults are repeated in two layouts: twelve partitions that one shard learns, and four that two shards learn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from benchmarks.harness.processes import learned, metrics, total
from benchmarks.harness.servers import RedisServer, free_port
from benchmarks.harness.waiting import wait_until
from tests.integration.harness.checking import Layout, assert_every_event_counted_once, ends_of, learned_everything
from tests.integration.harness.kafka_client import Message, Transaction, produce, transactions
from tests.integration.harness.worker_process import WorkerProcess
from tests.integration.harness.zombie_worker import LOST
from tests.tcp_proxy import BreakingProxy

pytestmark = pytest.mark.fault

PARTITIONS = 12
EVERYWHERE = 240
"""Clicks that reach every partition of twelve, by the murmur2 of their visitors."""

LAYOUTS = pytest.mark.parametrize(
    "layout", [Layout(PARTITIONS, 1), pytest.param(Layout(4, 2), marks=pytest.mark.long)], ids=str
)


def clicks(environment: dict[str, str], count: int, partition: int | None = None) -> list[Message]:
    """Clicks of some visitors; without a partition, murmur2 of the visitor decides."""
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    events = [{"item": f"item {n % 97}", "user": f"visitor {n % 120}"} for n in range(count)]
    return [Message(topic, json.dumps(event).encode(), event["user"].encode(), partition) for event in events]


def send(environment: dict[str, str], count: int, partition: int | None = None) -> None:
    produce(environment["CORRENTE_KAFKA"], clicks(environment, count, partition))


def wait_for_everything(environment: dict[str, str]) -> None:
    ends = ends_of(environment)
    wait_until(lambda: learned_everything(environment, ends), f"{ends} to be learned and published", 60.0)


@pytest.fixture
def port(environment: dict[str, str]) -> int:
    """Port of the worker's metrics."""
    port = free_port()
    environment["CORRENTE_METRICS_PORT"] = str(port)
    return port


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[BreakingProxy]:
    proxy = BreakingProxy(redis_server.port)
    yield proxy
    proxy.close()


def test_a_busy_partition_is_learned_beside_eleven_empty_ones(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    environment["CORRENTE_SHARDS"] = "1"
    make_topics(PARTITIONS)
    send(environment, 500, partition=7)
    running = worker()
    wait_until(lambda: learned(metrics(port)) == 500, "what was there before the start", 60.0)
    for sent in range(501, 511):  # one by one: nothing that comes later lets an earlier event go on
        send(environment, 1, partition=7)
        wait_until(lambda sent=sent: learned(metrics(port)) == sent, f"event {sent}", 10.0)
    wait_until(lambda: total(metrics(port), "corrente_worker_lag_records") == 0, "no lag", 20.0)
    assert running.stop() == 0
    assert_every_event_counted_once(environment)


def test_an_open_transaction_in_one_partition_holds_no_other_one_up(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    environment["CORRENTE_SHARDS"] = "1"
    make_topics(PARTITIONS)
    running = worker()
    with transactions(environment["CORRENTE_KAFKA"], f"shop-{environment['CORRENTE_GROUP']}") as shop:
        shop.send(clicks(environment, 5, partition=3), Transaction.OPEN)
        send(environment, 7, partition=3)  # they wait: nothing behind an open transaction is known to be committed
        others = [partition for partition in range(PARTITIONS) if partition != 3]
        for sent in range(1, 4):
            beside = [click for partition in others for click in clicks(environment, 10, partition)]
            produce(environment["CORRENTE_KAFKA"], beside)
            expected = sent * len(beside)
            wait_until(lambda expected=expected: learned(metrics(port)) == expected, f"{expected} events", 20.0)
        shop.finish(Transaction.COMMITTED)
    everything = expected + 5 + 7
    wait_until(lambda: learned(metrics(port)) == everything, "the transaction and what waited behind it", 20.0)
    wait_until(lambda: total(metrics(port), "corrente_worker_lag_records") == 0, "markers to leave no lag", 20.0)
    assert running.stop() == 0


@LAYOUTS
def test_a_fetch_that_is_lost_on_the_way_is_fetched_again(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], layout: Layout
) -> None:
    environment["CORRENTE_SHARDS"] = str(layout.shards)
    make_topics(layout.partitions)
    zombie = worker("-m", "tests.integration.harness.zombie_worker")
    zombie.wait_for_log("learning from here on")
    while LOST not in zombie.log.read_text():
        send(environment, EVERYWHERE)
    send(environment, EVERYWHERE)  # the partition whose fetch was lost gets more, so that the gap is seen
    wait_for_everything(environment)
    assert zombie.logged("fetching again from what is learned")
    assert zombie.stop() == 0
    assert_every_event_counted_once(environment, layout.shards)


@LAYOUTS
def test_a_publish_that_is_torn_is_visible_as_a_whole_or_not_at_all_and_counts_once(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    proxy: BreakingProxy,
    layout: Layout,
) -> None:
    environment["CORRENTE_SHARDS"] = str(layout.shards)
    make_topics(layout.partitions)
    running = worker(CORRENTE_REDIS=f"redis://127.0.0.1:{proxy.port}/0")
    send(environment, EVERYWHERE)
    wait_for_everything(environment)
    for number, moment in enumerate(("break_before", "break_after") * 3, 1):
        setattr(proxy, moment, True)
        send(environment, EVERYWHERE)
        wait_until(lambda number=number: proxy.broken == number, f"publish {number} to break", 30.0)
        wait_for_everything(environment)
    assert running.stop() == 0
    assert_every_event_counted_once(environment, layout.shards)
