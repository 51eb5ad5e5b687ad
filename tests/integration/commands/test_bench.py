"""Benchmarks on a real Kafka, with a small load: baselines count what is there, or say why they can't, and the hit rate
of a replay is taken over every test."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from benchmarks.harness.events import fill_topics, load_events
from benchmarks.harness.servers import KafkaServer, RedisServer
from benchmarks.legs import partitions
from benchmarks.legs.ingest import _counted_pace
from stream.settings import load_settings

EVENTS = 100_000
"""Several fetches, so that a pace has a first and a last count."""


def test_every_baseline_counts_the_events_of_the_topics(kafka: str) -> None:
    topics = {topic: f"baseline-{topic}" for topic in ("clicks", "purchases", "feedback")}
    asyncio.run(fill_topics(kafka, topics, 1, load_events(EVENTS)))
    names = list(topics.values())
    for module, arguments in {
        "raw_aiokafka": [kafka, "baseline-raw", str(EVENTS), *names],
        "plain_faust": [kafka, "baseline-plain", "5000", *names],
        "river_biasedmf": ["5000"],
    }.items():
        pace = _counted_pace(module, arguments)
        assert pace.events_per_second > 0, module
        assert pace.events_per_cpu_second > 0, module


def test_a_baseline_that_counts_nothing_says_why(kafka: str) -> None:
    with pytest.raises(RuntimeError, match=r"river_biasedmf counted nothing:\n[\s\S]*ValueError"):
        _counted_pace("river_biasedmf", ["many"])


@pytest.mark.usefixtures("compiled_kernels")
def test_a_replay_into_twelve_partitions_is_learned_in_memory_as_the_worker_learned_it(
    kafka_server: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    rows, file = 3000, tmp_path / "history.tsv"
    lines = [f"{1_600_000_000 + n}\tv{n % 97}\ti{n % 53}\tclick" for n in range(rows)]
    file.write_text("\n".join(["ts\tuser\titem\tevent", *lines]) + "\n")
    name = f"replay-{os.getpid()}"
    settings = partitions._replay(kafka_server, redis_server, tmp_path, name, file, 12, 1, None)
    logs = asyncio.run(partitions._read(kafka_server.bootstrap, load_settings(settings).topics, 12))
    assert sum(bool(log) for log in logs.values()) == 12, "clicks are in every partition, and there is nothing else"
    found = partitions._learn_again(settings, logs)  # raises unless it ends with the measures of the worker
    assert sorted(found.lines) == list(range(2, rows + 2)), "each line once"
    assert found.tests > rows * 0.9, "a visitor's first event has no test"
    again = partitions._learn_in_file_order(settings, logs)
    assert again.lines == sorted(found.lines)
    assert again.tests == pytest.approx(found.tests, abs=5)
