"""Event ids that come again, and clocks that are ahead, on a real Kafka: only what really happened counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from benchmarks.harness.processes import metrics, total
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything
from tests.integration.harness.kafka_client import Message, produce
from tests.integration.harness.worker_process import WorkerProcess

pytestmark = pytest.mark.fault

TEN_YEARS_MS = 315_576_000_000


def test_ids_count_once_within_a_topic_and_repeats_are_in_the_metrics(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    kafka, clicks, purchases = (
        environment[f"CORRENTE_{name}"] for name in ("KAFKA", "CLICKS_TOPIC", "PURCHASES_TOPIC")
    )
    port = free_port()
    make_topics()
    running = worker(CORRENTE_METRICS_PORT=str(port))

    def event(item: str, event_id: str) -> bytes:
        return json.dumps({"item": item, "user": "ada", "event_id": event_id}).encode()

    lines_of_an_order = [Message(purchases, event(item, "order 7")) for item in ("tea", "cups", "pot")]
    produce(kafka, [Message(clicks, event("tea", "visit 1")), Message(clicks, event("tea", "visit 1"))])
    produce(kafka, [Message(purchases, event("tea", "visit 1")), *lines_of_an_order])
    ends = {(clicks, 0): 2, (purchases, 0): 4}
    wait_until(lambda: learned_everything(environment, ends), "everything to be learned", 60.0)
    found = {
        (topic, outcome): total(
            metrics(port), "corrente_worker_records_total", f'topic="{topic}"', f'outcome="{outcome}"'
        )
        for topic in ("clicks", "purchases")
        for outcome in ("learned", "duplicates")
    }
    assert found == {
        ("clicks", "learned"): 1,
        ("clicks", "duplicates"): 1,
        ("purchases", "learned"): 2,
        ("purchases", "duplicates"): 2,
    }
    assert running.stop() == 0


def assert_the_future_leads_no_list(environment: dict[str, str]) -> None:
    model = assert_every_event_counted_once(environment, 1)[0].model()
    for lists in (model.popular(3), model.popular(3, half_life="2h")):
        assert lists.items == ["tea", "cups", "from the future"]
        assert lists.scores[2] < lists.scores[1]


def test_a_record_ten_years_ahead_leads_no_list_also_after_a_restart(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    kafka, clicks = environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"]
    make_topics(1, {"message.timestamp.after.max.ms": str(2**63 - 1)})
    now_ms = int(time.time() * 1000)
    written = 0

    def write(item: str, visitors: int, ahead_ms: int = 0) -> None:
        nonlocal written
        messages = []
        for number in range(visitors):
            value = json.dumps({"item": item, "user": f"visitor {number}"}).encode()
            messages.append(Message(clicks, value, timestamp_ms=now_ms + written + number + ahead_ms))
        produce(kafka, messages)
        written += visitors
        wait_until(lambda: learned_everything(environment, {(clicks, 0): written}), "all of it", 60.0)

    port = free_port()
    running = worker(CORRENTE_METRICS_PORT=str(port))
    write("tea", visitors=5)
    write("from the future", visitors=1, ahead_ms=TEN_YEARS_MS)
    write("cups", visitors=4)
    assert total(metrics(port), "corrente_worker_ahead_events_total", 'topic="clicks"') == 1
    assert_the_future_leads_no_list(environment)
    assert running.stop() == 0
    worker()
    write("tea", visitors=5)
    assert_the_future_leads_no_list(environment)
