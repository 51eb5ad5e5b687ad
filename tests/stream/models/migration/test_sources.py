"""Sources that come and go on a living model: numbers stay with their names, and what is new begins anew."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.drift.prequential import MISSED
from stream.models.migration.columns import MOVES, reorder_views
from stream.models.migration.first_numbers import first_numbers
from stream.models.migration.layout import COLUMNS, misfit, own_columns
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import CLOCK, RANDOM
from stream.models.settings import ModelSettings
from stream.models.state_names import TODAY
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import Shard
from stream.state.tables import Tables
from tests.stream.models.migration.test_migrate import records
from tests.stream.other_sources import MISSING_HERE, MISSING_THERE, checkpoint_there, other_names, written_there
from tests.stream.restoring import tables_of

SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, drift_burn_in=0)
BOTH = {"left and joined": other_names(), "joined": other_names(more=()), "left": other_names(without=())}
MANY = other_names(without=("stan", "cosine"), more=("a", "b", "c", "d"))
"""Other widths of all tables that have a column for each name."""


@pytest.fixture(scope="module")
def learned() -> Shard:
    shard = Shard(SETTINGS)
    shard.apply(records(1, 0, 600), rate=1.0)
    return shard


def restored(shard: Shard, names: dict[str, list[str]], settings: ModelSettings = SETTINGS) -> Shard:
    """The shard that goes on from what a program with these names would have published."""
    state = {**shard.readable_state(), "names": names}
    return Shard.restore(settings, written_there(SETTINGS, shard.tables, names), state)


@pytest.mark.parametrize("names", [*BOTH.values(), MANY], ids=[*BOTH, "many"])
def test_every_number_stays_with_its_name_and_new_names_have_first_numbers(learned: Shard, names):
    theirs = written_there(SETTINGS, learned.tables, names)
    ours = restored(learned, names).tables
    first = first_numbers(learned.tables["scalars"].data[0, RANDOM])
    known = [name in names["features"] for name in TODAY["features"]]
    columns = [np.flatnonzero(known), np.flatnonzero(np.logical_not(known))]
    for places, right in zip(columns, [{n: learned.tables[n].data for n in MOVES}, first], strict=True):
        assert (ours["challenger"].data[:, places] == right["challenger"][:, places]).all()
        assert (ours["linear"].data[:, places] == right["linear"][:, places]).all()
        assert (ours["network"].data[places] == right["network"][places]).all()
    for place, name in enumerate(TODAY["rankings"]):
        if name in names["rankings"]:
            assert (ours["outcomes"].data[:, place] == learned.tables["outcomes"].data[:, place]).all()
            assert (ours["drifts"].data[place] == learned.tables["drifts"].data[place]).all()
        else:
            tested = learned.tables["outcomes"].data.any(axis=1)
            assert (ours["outcomes"].data[tested, place] == MISSED).all()
            assert not ours["outcomes"].data[~tested, place].any()
            assert not ours["drifts"].data[place].any()
    assert all(ours[name].data.tobytes() == theirs[name].data.tobytes() for name in ours if name not in MOVES)


@pytest.mark.parametrize("names", [*BOTH.values(), MANY], ids=[*BOTH, "many"])
def test_learning_goes_on_and_every_checkpoint_has_figures(learned: Shard, names):
    shard = restored(learned, names)
    assert shard.migration.other_names
    state = shard.readable_state()
    assert set(state["metrics"]["sources"]) == set(TODAY["sources"])
    assert state["metrics"]["blend"] == learned.readable_state()["metrics"]["blend"]
    if MISSING_THERE not in names["sources"]:
        assert state["metrics"]["sources"][MISSING_THERE]["hr"]["10"] == 0.0
    shard.apply(records(1, 600, 900), rate=1.0)
    whole = shard.checkpoint()
    assert whole.whole
    assert whole.state["names"] == TODAY
    assert tables_of(SETTINGS, whole.delta) == shard.tables
    assert whole.state["metrics"]["sources"][MISSING_THERE]["hr"]["10"] > 0
    assert all(np.isfinite(table.data).all() for table in shard.tables.values() if table.data.dtype.kind == "f")
    again = Shard.restore(SETTINGS, tables_of(SETTINGS, whole.delta), whole.state)
    for each in (shard, again):
        each.apply(records(1, 900, 1000), rate=1.0)
    assert again.tables == shard.tables


def test_a_source_may_come_while_capacities_grow(learned: Shard):
    large = SETTINGS.model_copy(update={"max_items": 150, "max_sessions": 200})
    grown = restored(learned, BOTH["left and joined"], large)
    assert grown.migration.new_sources == (MISSING_THERE,)
    assert grown.migration.dropped_sources == (MISSING_HERE,)
    assert set(grown.migration.grown) == {"max_items", "max_sessions"}
    only_names = restored(learned, BOTH["left and joined"])
    for name in MOVES:
        assert grown.tables[name].data.tobytes() == only_names.tables[name].data.tobytes(), name


@pytest.mark.parametrize("names", [*BOTH.values(), MANY], ids=[*BOTH, "many"])
def test_a_reader_gives_the_lists_of_the_worker_that_goes_on(learned: Shard, names):
    theirs = written_there(SETTINGS, learned.tables, names)
    read = Model(SETTINGS, reorder_views(views_of(theirs), names))
    worker = restored(learned, names).model()
    now = float(learned.tables["scalars"].data[0, CLOCK])
    for number in range(20):
        query = Query(user=f"visitor {number}", n=20, now=now)
        assert read.recommend(query) == worker.recommend(query)


def test_a_source_with_another_number_of_columns_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("stream.models.migration.layout.own_columns", lambda: {"hour": 24, "weekday": 7})
    assert misfit({COLUMNS: {"hour": 24}}) is None
    assert misfit({}) is None
    assert "the source 'hour' has COLUMNS = 24 here, and the model has learned it with 48" in misfit(
        {COLUMNS: {"hour": 48, "other": 3}}
    )


def test_a_state_says_how_many_columns_sources_of_ones_own_have(learned: Shard):
    assert learned.readable_state()["layout"][COLUMNS] == own_columns()
    assert isinstance(learned.tables, Tables)
    assert checkpoint_there(SETTINGS, learned.tables, {}, other_names()).delta[MISSING_HERE].data.any()
