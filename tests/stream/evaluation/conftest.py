"""Results with a planted answer."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from stream.evaluation.measures.result import Evaluation, Tests
from stream.evaluation.protocol import Plan, Protocol
from stream.evaluation.replay.history import history_of
from stream.ingest.files import Coded, Dataset


def evaluation_of(blend, best, *, visitor=None, item=None, time=None, protocol=None, top=None):
    """An evaluation whose every event was tested, with these ranks of the blend and of one source."""
    n = len(blend)
    return Evaluation(
        stream="planted",
        protocol=protocol or Protocol(warmup=0),
        plan=Plan(np.full(n, 5, np.uint8), np.ones(n, np.float32), frozen=False, teachable=np.ones(n, bool)),
        tests=Tests(
            names=("rules", "blend"),
            event=np.arange(n),
            ranks=np.column_stack([best, blend]).astype(np.float64),
            candidates=np.full(n, 30, np.int32),
            fallback=np.zeros(n, np.uint8),
            top=np.zeros((n, 10), np.int32) if top is None else top,
        ),
        visitor=np.arange(n) // 5 if visitor is None else visitor,
        item=np.arange(n) % 7 if item is None else item,
        time=np.arange(n, dtype=np.float64) if time is None else time,
        items=7,
    )


@pytest.fixture
def planted():
    return evaluation_of


@pytest.fixture(scope="session")
def plain():
    """The module with the learner that is plain enough to be checked by eye."""
    spec = importlib.util.spec_from_file_location("simple_learner", Path(__file__).with_name("simple_learner.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def coded(cells):
    names = sorted(set(cells))
    return Coded(np.array([names.index(cell) for cell in cells], np.int32), names)


@pytest.fixture
def made():
    """A history of (user, item) or (user, item, kind), a second apart."""

    def make(rows):
        data = Dataset(
            seconds=np.arange(len(rows), dtype=np.float64),
            item=coded([row[1] for row in rows]),
            event=coded([row[2] if len(row) > 2 else "click" for row in rows]),
            user=coded([row[0] for row in rows]),
            session=None,
        )
        return history_of(data, "made")

    return make
