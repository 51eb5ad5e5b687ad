"""Warm-up: a worker compiles before it joins its group, and imports River later, without what isn't needed of it."""

import pickle
import subprocess
import sys

import pytest

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from tests.stream.versions.conftest import RedisServer

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

WORKS = """
import sys
from dataclasses import replace
from stream.ingest.records import Record
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.runner.warmup import import_river, warm_up
from stream.shard.shard import Shard
from stream.state.checkpoint import Checkpoint
from stream.state.folding import fold_all
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import Policy, VersionStore
from stream.versions.compaction import compact
from tests.stream.loaded_kernels import loaded_kernels, loaded_since

settings = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, drift_burn_in=0)
warm_up(settings)
import_river()
before = loaded_kernels()
assert sum(map(bool, before.values())) > 10
forms = {
    "clicks": b'{"item": "%d", "user": "%d", "session": "%d", "event_id": "%d"}',
    "purchases": b'{"item": "%d", "user": "%d", "session": "%d", "event_id": "p%d", "price": 2.5}',
    "feedback": b'{"item": "%d", "user": "%d", "session": "%d", "event_id": "f%d", "kind": "rating", "value": 4}',
}
store = VersionStore.connect(sys.argv[1], "warm")
claim = store.claim(0, worker="warm", token="warm", now=1e9)
shard = Shard(settings)
for number in range(10):
    at = range(20 * number, 20 * number + 20)
    shard.apply([Record(topic, n, 10**12 + 1000 * n, form % (n % 7, n % 5, n % 11, n))
                 for topic, form in forms.items() for n in at], 1.0)
    parts = []
    while not isinstance(part := shard.next_part(100), Checkpoint):
        parts.append(part)
    assert parts, "the checkpoint is taken in parts"
    checkpoint = replace(part, delta=fold_all([*parts, part.delta]))
    shard.tables.check_finite(checkpoint.delta)
    store.publish(claim, checkpoint, settings=settings.model_dump(mode="json"), code_version="warm",
                  now=1e9 + 60 * number)
compacted = compact(store, 0, Policy(keep_last=1, keep_minutes=2, keep_hours=0, keep_days=0), 1e9 + 36000)
assert compacted.states_folded, compacted
tables = Tables(table_specs(settings))
restored = Shard.restore(settings, tables, store.load(0, claim.head, TableWriter(tables)))
assert restored.tables == shard.tables
restored.apply([Record("clicks", 200, 10**12 + 10**6, b'{"item": "a", "user": "later"}')], 1.0)
print(loaded_since(before))
"""


@pytest.mark.unmeasured
def test_after_the_warm_up_learning_publishing_compacting_and_restoring_load_no_kernel(tmp_path):
    """A kernel takes milliseconds to load, in which learning and the event loop wait for the interpreter lock."""
    redis = RedisServer(tmp_path)
    try:
        ended = subprocess.run([sys.executable, "-c", WORKS, redis.url], capture_output=True, text=True, check=False)
    finally:
        redis.kill()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]", "kernels that the warm-up doesn't call"


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
