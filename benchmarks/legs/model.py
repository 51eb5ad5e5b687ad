"""Learning and answering in one process: every source, no Kafka, no versions, beside a loop of River's `BiasedMF`.

Two synthetic streams: **sessions** (short visits among 20,000 items) and **dense** (the size of MovieLens 100k: few
visitors with long histories). Only learning is timed, from batches that were decoded before. An answer is everything
that `Model.recommend` does: history, candidates of all sources, features, ranker with network, the best ten.

This file decides the streams and what is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.events import FIRST_SECONDS, zipf
from benchmarks.harness.machine import machine
from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.models.batch import EventBatch
from stream.models.learning.learner import Learner
from stream.models.model import Model
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.models.workspace.scoring_view import views_of

SESSION_EVENTS = 300_000
SESSION_ITEMS = 20_000
DENSE_EVENTS = 100_000
DENSE_VISITORS = 943
DENSE_ITEMS = 1_682
RIVER_EVENTS = 50_000
ANSWERS = 400
BATCH = 5_000
RIVER_FACTORS = 10


def measure(runs: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench model`.

    Args:
        runs: number of repetitions.
        progress: is called with one line of text for each step.
    """
    settings = ModelSettings()
    streams = {"sessions": session_events(), "dense": dense_events()}
    decoded = {name: decoded_batches(settings, *events) for name, events in streams.items()}
    learn(settings, decoded["dense"][:1])  # compiles
    paces: dict[str, list[float]] = {name: [] for name in (*streams, "river_biasedmf")}
    answers: dict[str, list[float]] = {"10": [], "100": []}
    for run in range(runs):
        for name, batches in decoded.items():
            learner, seconds = learn(settings, batches)
            paces[name].append(len(streams[name][0]) / seconds)
            depth = {"sessions": 10, "dense": 100}[name]
            answers[str(depth)].append(answer_microseconds(settings, learner, streams[name][0], depth))
        paces["river_biasedmf"].append(river_pace(*streams["sessions"]))
        progress(f"run {run + 1}: " + ", ".join(f"{name} {pace[-1]:,.0f}/s" for name, pace in paces.items()))
    medians = {name: statistics.median(pace) for name, pace in paces.items()}
    return {
        "leg": "model",
        "machine": machine(),
        "runs": runs,
        "figures": {
            **{f"{name}_events_per_second": round(pace) for name, pace in medians.items()},
            **{f"answer_microseconds_{depth}": round(statistics.median(each), 1) for depth, each in answers.items()},
        },
        "spread": {
            **{name: [round(min(pace)), round(max(pace))] for name, pace in paces.items()},
            **{f"answer_{depth}": [round(min(each), 1), round(max(each), 1)] for depth, each in answers.items()},
        },
        "ratios": {
            f"{name}_to_river_biasedmf": round(medians[name] / medians["river_biasedmf"], 2) for name in streams
        },
    }


def session_events(seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Visitors and items, int64 (events,): visits of about six events near one item, fifty visits at a time."""
    random = np.random.default_rng(seed)
    visitors = np.empty(SESSION_EVENTS, np.int64)
    under_way = np.arange(50)
    slots = random.integers(0, 50, SESSION_EVENTS)
    ends = random.random(SESSION_EVENTS) < 1 / 6
    fresh = 50
    for event, (slot, end) in enumerate(zip(slots.tolist(), ends.tolist(), strict=True)):
        visitors[event] = under_way[slot]
        if end:
            under_way[slot] = fresh
            fresh += 1
    places = zipf(SESSION_ITEMS, fresh, random)
    items = (places[visitors] * 7919 + zipf(60, SESSION_EVENTS, random) * 13) % SESSION_ITEMS
    return visitors, items


def dense_events(seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Visitors and items, int64 (events,): few visitors, each with a large part of a small catalogue."""
    random = np.random.default_rng(seed)
    visitors = zipf(DENSE_VISITORS, DENSE_EVENTS, random, 0.5)
    centres = random.integers(0, DENSE_ITEMS, DENSE_VISITORS)
    near = (centres[visitors] + zipf(300, DENSE_EVENTS, random, 0.7)) % DENSE_ITEMS
    anything = zipf(DENSE_ITEMS, DENSE_EVENTS, random, 0.7)
    return visitors, np.where(random.random(DENSE_EVENTS) < 0.5, near, anything)


def decoded_batches(settings: ModelSettings, visitors: NDArray[np.int64], items: NDArray[np.int64]) -> list[EventBatch]:
    """Decode events as the worker does, into batches for the learner."""
    decoder = Decoder(settings)
    batches = []
    for start in range(0, len(items), BATCH):
        records = [
            Record(
                "clicks",
                offset,
                int((FIRST_SECONDS + offset) * 1000),
                b'{"item":"item-%d","user":"visitor-%d","timestamp":%d}' % (item, visitor, FIRST_SECONDS + offset),
                None,
            )
            for offset, (visitor, item) in enumerate(
                zip(visitors[start : start + BATCH].tolist(), items[start : start + BATCH].tolist(), strict=True), start
            )
        ]
        batches.append(decoder.decode(records)[0])
    return batches


def learn(settings: ModelSettings, batches: list[EventBatch]) -> tuple[Learner, float]:
    """Learn the batches with a new learner; the learner, and the CPU seconds that it took."""
    learner = Learner(settings)
    started = time.thread_time()
    for batch in batches:
        learner.learn(batch)
    return learner, time.thread_time() - started


def answer_microseconds(settings: ModelSettings, learner: Learner, visitors: NDArray[np.int64], depth: int) -> float:
    """Median time of a whole `Model.recommend`, in microseconds, for visitors with about `depth` events."""
    model = Model(settings, views_of(learner.tables))
    counts = np.bincount(visitors)
    low, high = (depth - 1, depth) if depth <= 10 else (depth, counts.max())
    chosen = np.flatnonzero((counts >= low) & (counts <= high))[-ANSWERS:]
    queries = [Query(user=f"visitor-{visitor}") for visitor in chosen.tolist()]
    took = []
    for query in [*queries[:20], *queries]:
        started = time.perf_counter_ns()
        ranking = model.recommend(query)
        took.append((time.perf_counter_ns() - started) / 1000)
        assert len(ranking.items) == query.n
    return statistics.median(took[20:])


def river_pace(visitors: NDArray[np.int64], items: NDArray[np.int64]) -> float:
    """Events per CPU second of River's `BiasedMF.learn_one` in a bare loop."""
    from river import optim, reco

    model = reco.BiasedMF(
        n_factors=RIVER_FACTORS, bias_optimizer=optim.SGD(0.025), latent_optimizer=optim.SGD(0.025), seed=0
    )
    events = list(zip(visitors[:RIVER_EVENTS].tolist(), items[:RIVER_EVENTS].tolist(), strict=True))
    started = time.thread_time()
    for visitor, item in events:
        model.learn_one(visitor, item, 1.0)
    return len(events) / (time.thread_time() - started)
