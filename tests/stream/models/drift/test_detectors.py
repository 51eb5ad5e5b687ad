"""Detectors report a real change, report nothing without one, and agree with themselves after a restart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.drift.detectors import BEGIN_AGAIN_TESTS, Detectors
from stream.models.drift.prequential import NAMES, Prequential
from stream.models.schema import RANKINGS, table_specs
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.tables import Tables

START = 1_700_000_000
SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)


def watching(burn_in: int = 0) -> tuple[Tables, Prequential, Detectors]:
    tables = Tables(table_specs(SETTINGS))
    prequential = Prequential(tables)
    return tables, prequential, Detectors(tables, prequential, burn_in)


def outcomes(hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank 1 where there was a hit, else a miss, the same for all rankings."""
    greater = np.where(hits, 0.0, 1e9).astype(np.float32)
    return np.repeat(greater[:, None], RANKINGS, axis=1), np.zeros((len(hits), RANKINGS), np.float32)


def test_a_stream_that_stays_as_it_is_gives_no_signal():
    _, prequential, detectors = watching()
    draw = np.random.default_rng(0)
    for _ in range(60):
        prequential.add(*outcomes(draw.random(500) < 0.3))
        detectors.update()
    assert all(signal["drifts"] == signal["rises"] == 0 for signal in detectors.signals().values())


def test_a_fall_is_reported_once_with_its_direction():
    _, prequential, detectors = watching()
    draw = np.random.default_rng(0)
    for share in (0.5, 0.2):
        for _ in range(6):
            prequential.add(*outcomes(draw.random(500) < share))
            detectors.update()
    blend = detectors.signals()["blend"]
    assert (blend["drifts"], blend["rises"]) == (1, 0)
    assert blend["before"] == pytest.approx(0.5, abs=0.05)
    assert blend["after"] < blend["before"]
    assert blend["hit_rate"] == pytest.approx(0.2, abs=0.05)


def test_a_learning_curve_is_no_drift():
    """A model that begins with nothing: at first anything is a hit, then the shop fills, then the model learns."""
    _, prequential, detectors = watching(burn_in=2000)
    draw = np.random.default_rng(4)
    easy, hard, curve = np.full(500, 0.9), np.full(1500, 0.2), np.linspace(0.2, 0.6, 20_000)
    for share in np.concatenate([easy, hard, curve]).reshape(-1, 500):
        prequential.add(*outcomes(draw.random(500) < share))
        detectors.update()
    assert all(signal["drifts"] == 0 for signal in detectors.signals().values())
    assert detectors.signals()["blend"]["rises"] >= 1


def test_nothing_is_reported_during_the_burn_in():
    _, prequential, detectors = watching(burn_in=2000)
    prequential.add(*outcomes(np.arange(1900) < 900))
    detectors.update()
    assert detectors.signals()["blend"] == {"drifts": 0, "rises": 0}


@pytest.mark.parametrize(("before", "after", "within"), [(0.8, 0.2, 150), (0.5, 0.3, 1000)])
def test_a_fall_after_the_burn_in_is_reported_soon(before, after, within):
    _, prequential, detectors = watching(burn_in=2000)
    draw = np.random.default_rng(5)
    prequential.add(*outcomes(draw.random(5000) < before))
    detectors.update()
    assert detectors.signals()["blend"]["drifts"] == 0
    prequential.add(*outcomes(draw.random(within) < after))
    detectors.update()
    assert detectors.signals()["blend"]["drifts"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_shop_that_stays_as_it_is_gives_no_drift_from_its_first_event_on_and_a_new_fashion_gives_one(seed):
    """All visitors go round a circle of items, and now and then anywhere; then the circle is another one."""
    draw = np.random.default_rng(seed)
    shard = Shard(ModelSettings(max_items=400, max_visitors=600, max_sessions=600, max_event_ids=64))
    following, where, offset = draw.permutation(300), draw.integers(0, 300, 500), 0

    def happen(events):
        nonlocal offset
        records = []
        for _ in range(events):
            user = int(draw.integers(500))
            where[user] = following[where[user]] if draw.random() < 0.7 else draw.integers(300)
            value = {"user": f"u{user}", "item": f"i{where[user]}", "timestamp": START + 5 * offset}
            records.append(Record("clicks", offset, 1000 * (START + 5 * offset), json.dumps(value).encode()))
            offset += 1
        for first in range(0, events, 500):
            assert shard.apply(records[first : first + 500], rate=1.0) == []
        return shard.readable_state()["drift"]["blend"]["drifts"]

    assert happen(12_000) == 0
    following = draw.permutation(300)
    assert happen(500) == 1


@pytest.mark.parametrize("burn_in", [0, 6500])
@pytest.mark.parametrize("stop", [1, 700, BEGIN_AGAIN_TESTS - 1, BEGIN_AGAIN_TESTS, BEGIN_AGAIN_TESTS + 1, 9000])
def test_detectors_made_again_from_the_tables_go_on_as_those_that_never_stopped(stop, burn_in):
    tables, prequential, detectors = watching(burn_in)
    draw = np.random.default_rng(3)
    hits = np.concatenate([draw.random(10_000) < 0.6, draw.random(4000) < 0.3])
    for at in range(0, stop, 250):
        prequential.add(*outcomes(hits[at : min(at + 250, stop)]))
        detectors.update()
    copy = Tables(table_specs(SETTINGS))
    copy.write(tables.snapshot())
    again = Prequential(copy)
    detectors_again = Detectors(copy, again, burn_in)
    assert detectors_again.signals() == detectors.signals()
    for at in range(stop, len(hits), 250):
        for ring, watch in ((prequential, detectors), (again, detectors_again)):
            ring.add(*outcomes(hits[at : at + 250]))
            watch.update()
    assert detectors_again.signals() == detectors.signals()
    assert copy == tables
    assert detectors.signals()["blend"]["drifts"] >= 1
    assert set(detectors.signals()) == set(NAMES)
