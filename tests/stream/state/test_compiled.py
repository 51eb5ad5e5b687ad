"""Machine code on disk is made again when a source that it depends on changes, and only then."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numba as nb
import numpy as np
import pytest

from stream.state import compiled, marks

KINDS = ("kernel", "inlined", "vectored", "compiled", "compiled_keeping_gil")

PROBE = """
from stream.models.kernels.compile import inlined, kernel, vectored
from stream.models.schema import SEEN_WAYS
from stream.state.compiled import compiled, compiled_keeping_gil
from stream.state.tables import CACHE_LINE
""" + "".join(
    f"""

@{kind}
def by_{kind}():
    return 1000 * SEEN_WAYS + CACHE_LINE
"""
    for kind in KINDS
)

RUN = """
import json

import numpy as np

from stream.evaluation import probe
from stream.models.merging.counts import copy_seen

seen = np.zeros((1, 8), np.uint64)
seen[0, :5] = [5, 4, 3, 2, 1]
out = np.zeros((1, 8), np.uint64)
copy_seen(out, seen)
found = {kind: [(function := getattr(probe, f"by_{kind}"))(), function] for kind in KINDS}
found["copy_seen"] = [out[0].tolist(), copy_seen]
print(json.dumps({name: [result, sum(of.stats.cache_hits.values())] for name, (result, of) in found.items()}))
"""


class Copy:
    """A copy of the package `stream`, run by another interpreter, with machine code of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(compiled.ROOT / "stream", folder / "stream", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "stream" / "evaluation" / "probe.py").write_text(PROBE)

    def run(self) -> dict[str, list]:
        """Results by function, each with the number of times that its machine code was found on disk."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
        done = subprocess.run(
            [sys.executable, "-c", f"KINDS = {KINDS}\n{RUN}"],
            cwd=self.folder,
            env=environment | {"PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def change(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r} any more"
        path.write_text(text.replace(old, new))


@pytest.mark.unmeasured
def test_code_on_disk_follows_the_constants_of_other_files_and_nothing_else(tmp_path):
    copy = Copy(tmp_path)
    first = copy.run()
    assert first == {kind: [8064, 0] for kind in KINDS} | {"copy_seen": [[5, 4, 3, 2, 1, 0, 0, 0], 0]}

    assert copy.run() == {name: [result, 1] for name, (result, _) in first.items()}, "nothing changed"

    copy.change("stream/models/schema.py", "SEEN_WAYS = 8", "SEEN_WAYS = 3")
    assert copy.run() == {kind: [3064, 0] for kind in KINDS} | {"copy_seen": [[5, 4, 3, 0, 0, 0, 0, 0], 0]}

    copy.change("stream/state/tables.py", "CACHE_LINE = 64", "CACHE_LINE = 32")
    assert {kind: result for kind, (result, _) in copy.run().items() if kind in KINDS} == dict.fromkeys(KINDS, 3032)


def test_the_stamp_counts_the_own_room_and_included_files(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_included", {})
    inside = compiled.ROOT / "stream" / "models" / "model.py"
    outside = compiled.ROOT / "serving" / "memory" / "arena.py"
    assert len(compiled.stamp_of(inside)) == 2
    assert compiled.stamp_of(outside) == (*compiled.stamp_of(inside), compiled.room_checksum(outside.parent))
    before = compiled.stamp_of(inside)
    source = tmp_path / "source.py"
    source.write_text("COLUMNS = 1")
    compiled.include_sources([source])
    one = compiled.stamp_of(inside)
    source.write_text("COLUMNS = 2")
    compiled.include_sources([source])
    assert len({before, one, compiled.stamp_of(inside)}) == 3


def test_the_checksum_of_a_room_counts_contents_and_names(tmp_path):
    def checksum() -> int:
        compiled.room_checksum.cache_clear()
        return compiled.room_checksum(tmp_path)

    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "one.py").write_text("A = 1")
    first = checksum()
    assert checksum() == first
    (tmp_path / "inner" / "one.py").write_text("A = 2")
    second = checksum()
    (tmp_path / "inner" / "one.py").rename(tmp_path / "inner" / "two.py")
    assert len({first, second, checksum()}) == 3


def test_everything_that_is_cached_is_stamped():
    cached = re.compile(r"\bn?jit\([^)]*cache")
    sources = [path for name in ("stream", "serving", "simulators") for path in (compiled.ROOT / name).rglob("*.py")]
    assert len(sources) > 100
    found = [path.name for path in sources if cached.search(path.read_text()) and path != Path(compiled.__file__)]
    assert found == []


def test_the_stamp_is_part_of_what_numba_compares():
    function = marks.skip_clear
    directions = (
        f"Numba {nb.__version__} keeps the stamp of cached code elsewhere than in `Dispatcher._cache._cache_file."
        "_source_stamp`: look at numba.core.caching.IndexDataCacheFile and at `compiled_with` in "
        "stream/state/compiled.py. Without it, kernels go on with old code when a constant of another file changes"
    )
    stamp = getattr(getattr(getattr(function, "_cache", None), "_cache_file", None), "_source_stamp", None)
    assert isinstance(stamp, tuple), directions
    assert stamp[-1] == compiled.stamp_of(Path(function.py_func.__code__.co_filename)), directions
    function(np.zeros(8, np.uint64), 0, 8)
    cache_file = function._cache._cache_file
    assert cache_file._load_index(), directions
    cache_file._source_stamp = (*stamp, "another")
    try:
        assert cache_file._load_index() == {}, directions
    finally:
        cache_file._source_stamp = stamp
