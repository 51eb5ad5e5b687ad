"""Detectors tell a real change, keep quiet without one, and agree with themselves after a restart."""

from __future__ import annotations

import numpy as np
import pytest

from stream.drift import BEGIN_AGAIN_TESTS, Detectors
from stream.models.layout import RANKINGS, table_specs
from stream.models.prequential import NAMES, Prequential
from stream.settings import ModelSettings
from stream.tables import Tables

SETTINGS = ModelSettings(items=64, visitors=64, sessions=64, event_ids=64)


def watching() -> tuple[Tables, Prequential, Detectors]:
    tables = Tables(table_specs(SETTINGS))
    prequential = Prequential(tables)
    return tables, prequential, Detectors(tables, prequential)


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
    assert all(signal["drifts"] == 0 for signal in detectors.signals().values())


def test_a_drop_is_told_once_with_its_direction():
    _, prequential, detectors = watching()
    draw = np.random.default_rng(0)
    for share in (0.5, 0.2):
        for _ in range(6):
            prequential.add(*outcomes(draw.random(500) < share))
            detectors.update()
    blend = detectors.signals()["blend"]
    assert blend["drifts"] >= 1
    assert blend["after"] < blend["before"]
    assert blend["hit_rate"] == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("stop", [1, 700, BEGIN_AGAIN_TESTS - 1, BEGIN_AGAIN_TESTS, BEGIN_AGAIN_TESTS + 1, 9000])
def test_detectors_made_again_from_the_tables_go_on_as_those_that_never_stopped(stop):
    tables, prequential, detectors = watching()
    draw = np.random.default_rng(3)
    hits = np.concatenate([draw.random(6000) < 0.4, draw.random(8000) < 0.6])
    for at in range(0, stop, 250):
        prequential.add(*outcomes(hits[at : min(at + 250, stop)]))
        detectors.update()
    copy = Tables(table_specs(SETTINGS))
    copy.write(tables.whole())
    again = Prequential(copy)
    detectors_again = Detectors(copy, again)
    assert detectors_again.signals() == detectors.signals()
    for at in range(stop, len(hits), 250):
        for ring, watch in ((prequential, detectors), (again, detectors_again)):
            ring.add(*outcomes(hits[at : at + 250]))
            watch.update()
    assert detectors_again.signals() == detectors.signals()
    assert copy == tables
    assert detectors.signals()["blend"]["drifts"] >= 1
    assert set(detectors.signals()) == set(NAMES)
