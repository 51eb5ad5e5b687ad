"""Baselines of the benchmarks on a real Kafka, with a small load: they count what is there, or say why they can't."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.harness.events import fill_topics, load_events
from benchmarks.legs.ingest import _counted_pace

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
