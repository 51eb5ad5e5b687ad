"""Records of a shop's own form, several events in one: Kafka, HTTP, worker, list; and each event once through kills."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.processes import metrics, total
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from stream.shard.counters import learned_events
from tests.integration.checking import assert_every_event_counted_once, ends_of, learned_everything, store_of
from tests.integration.kafka_client import Message, produce, read_all
from tests.integration.server_process import running_server
from tests.integration.worker_process import WorkerProcess

MAPPING = """
topics:
  clicks:
    otherwise: leave_out
    fields: {user: client.id, event_id: id}
    rules:
      - when: {name: view}
        kind: click
        fields: {item: product.sku}
      - when: {name: order}
        kind: purchase
        fields: {item: "lines[].sku", quantity: "lines[].count"}
"""
BROKEN_LINE = {"count": 1}


@pytest.fixture
def mapped(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a system whose clicks come in the form of `MAPPING`."""
    path = tmp_path / "shop.yaml"
    path.write_text(MAPPING)
    environment["CORRENTE_MAPPING"] = str(path)
    return environment


def view(visitor: str, sku: str, number: int) -> dict[str, Any]:
    return {"name": "view", "id": f"v{number}", "client": {"id": visitor}, "product": {"sku": sku}}


def order(visitor: str, number: int, *skus: str) -> dict[str, Any]:
    lines = [{"sku": sku, "count": 1} for sku in skus]
    return {"name": "order", "id": f"o{number}", "client": {"id": visitor}, "lines": lines}


def messages(environment: dict[str, str], records: list[dict[str, Any]]) -> Iterator[Message]:
    for record in records:
        key = record["client"]["id"].encode()
        yield Message(environment["CORRENTE_CLICKS_TOPIC"], json.dumps(record).encode(), key)


def test_mapped_records_from_kafka_and_http_become_lists(
    mapped: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    port = free_port()
    worker(CORRENTE_METRICS_PORT=str(port))
    baskets = [order(f"v{n}", n, "teapot", "cups", "tray") for n in range(12)]
    others = [
        view("cy", "spade", 1),
        {"name": "page", "client": {"id": "cy"}},
        {"name": "order", "client": {"id": "cy"}, "lines": []},
    ]
    produce(mapped["CORRENTE_KAFKA"], messages(mapped, [*baskets, *others]))
    with running_server(mapped) as server:
        server.wait_for_kafka()
        posted = server.client.post(
            "/v1/events/clicks", json=[view("bob", "teapot", 2), order("eve", 103, "cups", "tray")]
        )
        assert posted.json() == {"accepted": 2, "event_ids": ["v2", "o103"], "repeated": 0}
        wrong = server.client.post(
            "/v1/events/clicks", json=[view("bob", "teapot", 4), order("eve", 105, "cups", "x" * 300)]
        )
        assert (wrong.status_code, wrong.json()["index"], wrong.json()["field"]) == (422, 1, "item")
        wait_until(lambda: learned_everything(mapped, ends_of(mapped)), "everything to be learned", 60.0)
        store = store_of(mapped)
        newest = store.latest()
        store.close()
        server.wait_for_version(newest.id)
        assert newest.events == 12 * 3 + 1 + 1 + 2
        answer = server.client.get("/v1/recommendations/bob?exclude_seen=true").json()
        assert {each["item"] for each in answer["items"][:2]} == {"cups", "tray"}
    counts = newest.shards[0].counters["clicks"]
    assert (counts["read"], counts["learned"]) == (17, 15)
    assert (counts["unlearned:unmapped"], counts["unlearned:empty_list"]) == (1, 1)
    assert total(metrics(port), "corrente_worker_events_total", 'outcome="learned"') == newest.events
    assert_every_event_counted_once(mapped)


@pytest.mark.fault
@pytest.mark.unmeasured
def test_every_event_of_every_record_counts_once_through_kills(
    mapped: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} repeats the records and the moments of the kills")
    chance = random.Random(seed)
    mapped |= {"CORRENTE_SESSION_TIMEOUT_SECONDS": "2", "CORRENTE_KEEP_LAST": "1000000"}
    make_topics(3)
    mapped["CORRENTE_SHARDS"] = "1"
    events = broken = 0
    running = worker()
    for kill in range(3):
        records = []
        for number in range(kill * 2000, (kill + 1) * 2000):
            skus = [f"item {int(chance.paretovariate(0.7)) % 300}" for _ in range(chance.randint(1, 8))]
            records.append(order(f"visitor {chance.randrange(200)}", number, *skus))
            if chance.random() < 0.01:
                records[-1]["lines"].append(BROKEN_LINE)
                broken += 1
            else:
                events += len(skus)
        before = progress(mapped)
        sending = threading.Thread(target=produce, args=(mapped["CORRENTE_KAFKA"], list(messages(mapped, records))))
        sending.start()
        wait_until(lambda before=before: progress(mapped) > before, "some of them to be in a version", 60.0)
        time.sleep(chance.uniform(0.0, 0.3))  # a random moment, not a wait for something
        running.kill()
        sending.join()
        running = worker()
    running.wait_for_log("learning from here on")
    wait_until(lambda: learned_everything(mapped, ends_of(mapped)), "everything to be learned", 60.0)
    assert running.stop() == 0
    assert progress(mapped) == events
    (shard,) = assert_every_event_counted_once(mapped).values()
    assert sum(map(learned_events, shard.counters.values())) == events
    letters = read_all(mapped["CORRENTE_KAFKA"], [mapped["CORRENTE_DEAD_LETTERS_TOPIC"]])
    assert len({letter.key for letter in letters}) == broken


def progress(environment: dict[str, str]) -> int:
    store = store_of(environment)
    newest = store.latest()
    store.close()
    return newest.events if newest else 0
