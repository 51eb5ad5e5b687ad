"""Warm-up of a server: a model without a row compiles everything that the first list needs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from serving.loading.warm_up import empty_model, warm_up
from stream.models.kernels.key_hints import find_hint
from stream.models.ranking.explanation import parts_by_neighbours, parts_by_pairs
from stream.models.workspace.item_names import write_names

warm_up(empty_model())
assert find_hint.signatures, "the kernel that finds items by name is not there yet"
assert write_names.signatures, "the kernel that reads names is not there yet"

from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.ingest.records import Record
from stream.shard.shard import Shard

kernels = (find_hint, write_names, parts_by_pairs, parts_by_neighbours)
compiled = [len(kernel.signatures) for kernel in kernels]
assert min(compiled) > 0, "the kernels that explain a list are not there yet"
shard = Shard(ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64))
clicks = [b'{"item": "%d", "user": "%d"}' % (n % 7, n % 5) for n in range(60)]
shard.apply([Record("clicks", n, 1_000_000 + 1000 * n, click) for n, click in enumerate(clicks)], 0.0)
model = shard.model()
assert model.recommend(Query(user="1", candidates=["1", "2"])).items
assert model.explain(Query(user="1", n=5))[1]
assert [len(kernel.signatures) for kernel in kernels] == compiled, "compiled once more"
"""


def test_a_first_list_compiles_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
