"""A source of one's own is a file and a name. Tried in a copy of the package, which compiles its own kernels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[4] / "stream"

SOURCE = '''"""What is wanted at this hour of the day: its share of the item's events.

Campos, Díez & Cantador, "Time-aware recommender systems", UMUAI 2014.
"""

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.workspace.visitor_context import MOMENT
from stream.models.workspace.scratch import LOCAL

COLUMNS = 24
PROPOSES = 30


@kernel
def learn(state, item, visitor, seconds, weight, met, count):
    hour = np.int64(seconds // 3600) % 24
    state.hour_of_day[item, hour] = max(0.0, state.hour_of_day[item, hour] + weight)
    state.hour_of_day_dirty[item] = 1


@kernel
def score(reader, work, values):
    hour = np.int64(work.facts[MOMENT] // 3600) % 24
    for local in range(work.counts[LOCAL]):
        counts = reader.hour_of_day[reader.hour_of_day_index[work.items[local]]]
        total = 1.0
        for column in range(24):
            total += counts[column]
        values[local] = counts[hour] / total


@kernel
def forget(state, item):
    state.hour_of_day[item] = 0
    state.hour_of_day_dirty[item] = 1
'''

STORY = """
import json
import numpy as np
from stream.ingest.files import Coded, Dataset
from stream.evaluation import EvaluationProtocol, evaluate, history_of
from stream.evaluation.replay.factory import build_learner
from stream.models.schema import table_specs
from stream.models.merging.merge import merged
from stream.settings import ModelSettings
from stream.state.tables import Tables

# An event an hour: each hour of the day has two items of its own, and visitors come and go.
draw, n = np.random.default_rng(0), 6000
item = (2 * (np.arange(n) % 24) + draw.integers(0, 2, n)).astype(np.int32)
user = draw.integers(0, 60, n).astype(np.int32)
data = Dataset(
    1_700_000_000 + 3600.0 * np.arange(n),
    Coded(item, [f"i{code}" for code in range(48)]),
    Coded(np.zeros(n, np.int32), ["click"]),
    Coded(user, [f"u{code}" for code in range(60)]),
    None,
)
history, protocol = history_of(data, "hours"), EvaluationProtocol(warmup=0.5, cutoffs=(2,))
settings = ModelSettings(max_items=64, max_visitors=100, max_sessions=100, max_event_ids=64)
silent = settings.model_copy(update={"disabled_sources": ("hour_of_day",)})
found, without = evaluate(history, protocol, settings), evaluate(history, protocol, silent)

learner = build_learner(history, protocol, settings, found.plan)
learner.replay(0, n, found.plan.actions, top=2)
whole = learner.views()["hour_of_day"][0]
restored = Tables(table_specs(settings))
restored.write(learner._learner.tables.snapshot())
halves = [build_learner(history, protocol, settings, found.plan) for _ in range(2)]
halves[0].replay(0, n // 2, found.plan.actions, top=2)
halves[1].replay(n // 2, n, found.plan.actions, top=2)
together = merged(settings, {number: half.views() for number, half in enumerate(halves)})
print(json.dumps({
    "source": found.figures["hour_of_day"]["hr"]["2"],
    "blend": found.figures["blend"]["hr"]["2"],
    "without": without.figures["blend"]["hr"]["2"],
    "silenced": without.figures["hour_of_day"]["hr"]["2"],
    "learned": float(whole.sum()),
    "restored": bool(np.array_equal(restored["hour_of_day"].data, whole)),
    "merged": float(together["hour_of_day"].data.sum()),
}))
"""


@pytest.mark.slow
def test_a_file_and_a_name_make_a_source_of_the_blend(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "stream", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "stream" / "models" / "hour_of_day.py").write_text(SOURCE)
    layout = tmp_path / "stream" / "models" / "layout.py"
    before = "ADDED: tuple[str, ...] = ()\n"
    assert before in layout.read_text()
    layout.write_text(layout.read_text().replace(before, 'ADDED: tuple[str, ...] = ("hour_of_day",)\n'))

    run = subprocess.run(
        [sys.executable, "-c", STORY],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["source"] > 0.95, "it knows the hour"
    assert told["blend"] > 0.95, "and the blend has learned to listen to it"
    assert told["without"] < told["blend"] - 0.2
    assert told["silenced"] < 0.5
    assert told["learned"] == told["merged"] == 6000
    assert told["restored"]
