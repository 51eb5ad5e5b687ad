"""Numbers of a shard over the years: finite whatever comes, mended once if an older release left others, counted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.checkpoint import Checkpoint
from stream.state.processor import processor_family
from stream.state.tables import Tables
from tests.stream.restoring import tables_of

START = 1_700_000_000
SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)


def feedback(offset: int, **fields: Any) -> Record:
    value = {"user": f"u{offset % 9}", "item": f"i{offset % 7}", "timestamp": START + offset, **fields}
    return Record("feedback", offset, 1000 * (START + offset), json.dumps(value).encode())


@pytest.mark.parametrize("scale", [1.0, 5.0, 100.0, 1e6, -1e30, 1e308])
def test_ratings_on_any_scale_leave_numbers_only(scale: float) -> None:
    shard, draw = Shard(SETTINGS), np.random.default_rng(1)
    for start in range(0, 1200, 200):
        records = [
            feedback(start + n, kind="rating", value=float(scale * draw.random()) if n % 5 else scale)
            for n in range(200)
        ]
        shard.apply(records, rate=1.0)
        shard.tables.check_finite(shard.checkpoint().delta)
    assert all(np.isfinite(shard.tables[name].data).all() for name in ("ratings", "visitor_tastes", "item_tastes"))
    assert json.loads(json.dumps(shard.readable_state()["metrics"], allow_nan=False))["ratings"]["learned"] >= 0


def restored(state: dict[str, Any], tables: Tables) -> Shard:
    return Shard.restore(SETTINGS, tables, json.loads(json.dumps(state)))


def taught() -> tuple[Shard, Checkpoint]:
    shard = Shard(SETTINGS)
    shard.apply([feedback(n, kind="rating", value=n % 6) for n in range(50)], rate=1.0)
    return shard, shard.checkpoint()


def test_a_state_of_a_release_without_the_check_is_mended_and_goes_on() -> None:
    _, cut = taught()
    tables = tables_of(SETTINGS, cut.delta)
    tables["ratings"].data[0, 3] = np.nan
    tables["visitor_tastes"].data[2, 5] = -np.inf
    shard = restored({name: part for name, part in cut.state.items() if name != "finite"}, tables)
    assert shard.mended == {"ratings": 1, "visitor_tastes": 1}
    shard.apply([feedback(50 + n, kind="rating", value=3) for n in range(30)], rate=1.0)
    after = shard.checkpoint()
    assert {"ratings", "visitor_tastes"} <= after.delta.keys()
    assert after.state["metrics"]["ratings"]["learned"] == 80


def test_a_state_of_this_release_is_not_looked_at_again() -> None:
    _, cut = taught()
    assert restored(cut.state, tables_of(SETTINGS, cut.delta)).mended == {}


def test_a_state_names_the_family_of_processors_that_it_was_learned_on() -> None:
    _, cut = taught()
    assert cut.state["processor"] == processor_family()
    assert processor_family().startswith(("x86_64 with", "aarch64", "arm64"))


def test_a_state_counts_rows_in_use_and_evictions_by_table() -> None:
    shard = Shard(SETTINGS)
    records = [feedback(n, kind="view", user=f"u{n}", item=f"i{n}") for n in range(200)]
    shard.apply(records, rate=0.0)
    rows = shard.checkpoint().state["rows"]
    assert {name: each["most"] for name, each in rows.items()} == {"items": 64, "visitors": 64, "sessions": 64}
    for name, each in rows.items():
        assert each["live"] + each["evicted"] == 200, name
        assert 60 <= each["live"] <= 64, name
