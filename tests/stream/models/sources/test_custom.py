"""A source of one's own: an installed package with an entry point. The package is the one of the guide, which is typed
as it stands; then it is tried with a tiny distribution on the path."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stream.models.migration.layout import stored_specs
from stream.models.settings import ModelSettings
from stream.models.state_names import difference
from tests.docs.terminal import Terminal

ROOT = Path(__file__).parents[4]

PAGE = ROOT / "docs" / "how-to" / "add-a-source.md"
SOURCE = re.search(
    r"cat > my-shop/my_shop/hour_of_day.py <<'END'\n(.*?)^END$", PAGE.read_text(), re.DOTALL | re.MULTILINE
)[1]

QUICKLY = {
    "NUMBA_OPT": "1",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_SLP_VECTORIZE": "0",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
}
"""Variables with which kernels are compiled in less time and are slower: each run here compiles its own."""

RARELY_COLLECTED = "import gc\n\ngc.set_threshold(50_000)\n"
"""Code that Python runs at its start. Numba makes millions of objects that stay, and looking for garbage among them
would take a tenth of the time of compiling."""

STORY = """
import json
import numpy as np
from stream.ingest.files.dataset import Coded, Dataset
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


def installed(site: Path, source: str, entry_points: str) -> Path:
    """A distribution `my-shop` in this folder, as pip would leave it: one package and its metadata."""
    package, metadata = site / "my_shop", site / "my_shop-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").write_text("")
    (package / "hour_of_day.py").write_text(source)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-shop\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[corrente.sources]\n{entry_points}\n")
    return site


def run_with(site: Path, program: str, kernels: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that finds the distribution, with a cache of kernels of its own."""
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=site,
        env={**os.environ, **QUICKLY, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(kernels or site / "kernels")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.unmeasured
def test_the_guide_s_package_is_installed_and_makes_a_source_of_the_blend(tmp_path):
    site, kernels, typed = (tmp_path / name for name in ("site", "kernels", "typed"))
    typed.mkdir()
    site.mkdir()
    (site / "sitecustomize.py").write_text(RARELY_COLLECTED)
    pip = {"PIP_TARGET": str(site), "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0: the option is negated
    path = os.pathsep.join([str(site), str(ROOT)])  # the code of this folder, whose kernels the story finds compiled
    with Terminal(typed, environment={**pip, "PYTHONPATH": path}) as terminal:
        own = {**QUICKLY, "NUMBA_CACHE_DIR": f"'{kernels}'"}
        terminal.type_page(PAGE, exports={"package": f"export {' '.join(f'{k}={v}' for k, v in own.items())}"})
    run = run_with(site, STORY, kernels)  # which finds the kernels that the guide has compiled
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["source"] > 0.95, "it knows the hour"
    assert told["blend"] > 0.95, "and the blend has learned to trust it"
    assert told["without"] < told["blend"] - 0.2
    assert told["silenced"] < 0.5
    assert told["learned"] == told["merged"] == 6000
    assert told["restored"]


def test_a_model_that_began_without_an_installed_source_goes_on_with_it(tmp_path):
    """And the other way round: a state that has it is read where it isn't installed."""
    site = installed(tmp_path, SOURCE, "hour_of_day = my_shop.hour_of_day")
    program = """
import json
from stream.models.migration.layout import layout_of, stored_specs
from stream.models.settings import ModelSettings
from stream.models.state_names import RELEASE_0_1, TODAY, difference, same_names

older, own = (
    {spec.name: [spec.rows, list(spec.dtype.shape)] for spec in stored_specs(ModelSettings(), names)}
    for names in (RELEASE_0_1, TODAY)
)
print(json.dumps([difference(RELEASE_0_1), same_names(RELEASE_0_1), older, own, layout_of(ModelSettings()), TODAY]))
"""
    run = run_with(site, program)
    assert run.returncode == 0, run.stderr
    refused, same, older, own, layout, names = json.loads(run.stdout)
    assert refused is None
    assert same is False
    assert set(own) - set(older) == {"hour_of_day"}
    assert (older["drifts"][0], own["drifts"][0]) == (15, 16)
    assert layout["columns"] == {"hour_of_day": 24}
    assert "hour_of_day.rank" in names["features"]
    assert difference(names) is None
    here = {spec.name: [spec.rows, list(spec.dtype.shape)] for spec in stored_specs(ModelSettings(), names)}
    assert here == {name: shape for name, shape in own.items() if name != "hour_of_day"}


def test_an_installed_source_has_a_number_a_table_and_features(tmp_path):
    site = installed(tmp_path, SOURCE, "hour_of_day = my_shop.hour_of_day")
    program = """
from stream.models.feature_names import CANDIDATE_FEATURE_NAMES, FEATURES
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.models.source_names import EMBEDDING, SOURCES
from stream.models.source_registry import source_files
from stream.models.sources.custom import PROPOSED

spec = table_specs(ModelSettings(disabled_sources=("hour_of_day",)))[-1]
print(SOURCES[EMBEDDING + 1:], PROPOSED == ((EMBEDDING + 1, 30),), spec.name, spec.dtype.shape, spec.blocks_per_row)
print("hour_of_day.rank" in CANDIDATE_FEATURE_NAMES, len(CANDIDATE_FEATURE_NAMES) == FEATURES)
print([path.name for path in source_files()])
"""
    run = run_with(site, program)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "('hour_of_day',) True hour_of_day (24,) 1",
        "True True",
        "['hour_of_day.py']",
    ]


@pytest.mark.parametrize(
    ("entry_points", "message"),
    [
        (
            "hour_of_day = my_shop",
            "source 'hour_of_day': the module my_shop lacks COLUMNS, PROPOSES, learn, score, forget",
        ),
        ("cosine = my_shop.hour_of_day", "the source 'cosine' of my_shop.hour_of_day is named like a built-in source"),
        ("items = my_shop.hour_of_day", "the source 'items' of my_shop.hour_of_day has the name of a table"),
        (
            "\n".join(f"s{number} = my_shop.hour_of_day" for number in range(5)),
            "5 sources are announced in the group corrente.sources (s0, s1, s2, s3, s4); there is room for 4",
        ),
    ],
    ids=["lacking", "built-in", "table", "fifth"],
)
def test_a_source_that_cannot_be_one_is_refused_with_the_reason(tmp_path, entry_points, message):
    site = installed(tmp_path, SOURCE, entry_points)
    program = """
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings

table_specs(ModelSettings())
"""
    run = run_with(site, program)
    assert run.returncode != 0
    assert message in run.stderr
