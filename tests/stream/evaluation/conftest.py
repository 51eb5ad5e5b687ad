"""Results and histories that are known by construction, and a simple learner."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from stream.evaluation.measures.result import Evaluation, TestedEvents
from stream.evaluation.protocol import EvaluationProtocol, Plan
from stream.evaluation.replay.history import history_of
from stream.evaluation.replay.run import evaluate
from stream.ingest.files.dataset import Coded, Dataset


def evaluation_of(blend, best, *, visitor=None, item=None, time=None, protocol=None, top=None):
    """An evaluation whose every event was tested, with these ranks of the blend and of one source."""
    n = len(blend)
    return Evaluation(
        stream="planted",
        protocol=protocol or EvaluationProtocol(warmup=0),
        plan=Plan(np.full(n, 5, np.uint8), np.ones(n, np.float32), frozen=False, trainable=np.ones(n, bool)),
        tests=TestedEvents(
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
def simple():
    """The module `simple_learner`: a learner that can be checked by hand."""
    spec = importlib.util.spec_from_file_location("simple_learner", Path(__file__).with_name("simple_learner.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def coded(cells):
    names = sorted(set(cells))
    return Coded(np.array([names.index(cell) for cell in cells], np.int32), names)


@pytest.fixture
def history_from():
    """Makes a history of rows (user, item) or (user, item, kind), one second apart."""

    def make(rows):
        data = Dataset(
            seconds=np.arange(len(rows), dtype=np.float64),
            item=coded([row[1] for row in rows]),
            event=coded([row[2] if len(row) > 2 else "click" for row in rows]),
            user=coded([row[0] for row in rows]),
            session=None,
        )
        return history_of(data, "made up")

    return make


@pytest.fixture
def evaluated(simple, history_from):
    """Evaluates rows as of `history_from` with the simple learner."""

    def evaluate_rows(rows, protocol=None, **options):
        history = history_from(rows)
        protocol = protocol or EvaluationProtocol(warmup=0)
        return evaluate(history, protocol, learner=simple.learner_for(history, protocol), **options)

    return evaluate_rows


@pytest.fixture
def dropping(planted):
    """Six thousand tests whose hit rate falls from 0.6 to 0.2 half-way."""
    random = np.random.default_rng(0)
    hit = random.random(6000) < np.where(np.arange(6000) < 3000, 0.6, 0.2)
    return planted(np.where(hit, 1.0, math.inf), np.full(6000, math.inf))
