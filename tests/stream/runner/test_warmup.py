"""Warm-up: a worker compiles before it joins its group, and imports River later, without what isn't needed of it."""

import pickle
import subprocess
import sys

import pytest

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

PROGRAM = """
import sys
import stream.worker
from stream.models.schema import table_specs
from stream.models.drift.prequential import add_up
from stream.models.learning.event_loop import learn_batch
from stream.settings import ModelSettings
from stream.shard.shard import Record, Shard
from stream.state.tables import Tables
from stream.runner.warmup import import_river, warm_up

assert warm_up(ModelSettings(rating_scale={"low": 0, "high": 1}, null_ids=["item 1"])) > 0
assert learn_batch.signatures, "the kernel that tests and learns is not there yet"
assert add_up.signatures, "the kernel that measures is not there yet, and the first version would wait for it"
print(any(name.partition(".")[0] == "river" for name in sys.modules))
import pickle
settings = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, drift_burn_in=0)
with open(sys.argv[1], "rb") as file:
    delta, state = pickle.load(file)
tables = Tables(table_specs(settings))
tables.write(delta)
shard = Shard.restore(settings, tables, state)
at = shard.offsets["clicks"]
shard.apply([Record("clicks", at, 10**12, b'{"item": "a", "user": "later"}')], 0.0)
shard.checkpoint()
print(any(name.partition(".")[0] == "river" for name in sys.modules))
import_river()
print(any(name.partition(".")[0] == "river" for name in sys.modules))
print("sqlalchemy" in sys.modules)
"""


@pytest.mark.unmeasured
def test_a_restored_shard_learns_and_publishes_before_river_is_imported(tmp_path):
    shard = Shard(ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, drift_burn_in=0))
    clicks = [b'{"item": "%d", "user": "%d"}' % (n % 7, n % 5) for n in range(60)]
    shard.apply([Record("clicks", n, 1_000_000 + 1000 * n, click) for n, click in enumerate(clicks)], 1.0)
    whole = shard.snapshot()
    assert whole.state["metrics"]["tests"] > 0
    (tmp_path / "state").write_bytes(pickle.dumps((whole.delta, whole.state)))
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "state")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["False", "False", "True", "False"]
