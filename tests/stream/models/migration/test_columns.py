"""Tables whose names stand in another order: what belonged to a name still does."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.feature_names import CROSS_BUCKETS, FEATURES_WIDE
from stream.models.merging.merge import merged
from stream.models.migration.columns import MOVES, reorder_tables, reorder_views
from stream.models.model import Model
from stream.models.outcomes.conversion import MEANS, PENDING_FEATURES, WEIGHTS
from stream.models.query import Query
from stream.models.schema import LINEAR_ROWS, NETWORK_ROWS, table_specs
from stream.models.settings import ModelSettings
from stream.models.state_names import TODAY
from stream.models.workspace.scoring_view import views_of
from stream.state.tables import Tables
from tests.stream.other_order import in_other_order, shuffled_names
from tests.stream.restoring import tables_of

SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
SPECS = table_specs(SETTINGS)
SEEDS = [1, 2, 3]


def of_random_numbers(seed: int) -> Tables:
    """Tables in which every number of a table that moves is another one."""
    draw, tables = np.random.default_rng(seed), Tables(SPECS)
    for name in MOVES:
        data = tables[name].data
        data[:] = draw.permutation(data.size).reshape(data.shape) % 60_000
    return tables


@pytest.mark.parametrize("seed", SEEDS)
def test_a_state_in_another_order_becomes_the_state_in_this_order(seed):
    ours, names = of_random_numbers(seed), shuffled_names(seed)
    theirs = tables_of(SETTINGS, in_other_order(SPECS, names, ours.snapshot()))
    assert theirs != ours
    reorder_tables(theirs, names)
    assert theirs == ours


@pytest.mark.parametrize("seed", SEEDS)
def test_every_number_goes_with_its_name(seed):
    """Against the names themselves, one table after the other."""
    names = shuffled_names(seed)
    theirs = of_random_numbers(seed)
    moved = {name: move.copy() for name, (move, _) in reorder_views(views_of(theirs), names).items() if name in MOVES}
    theirs = {name: theirs[name].data for name in MOVES}

    def pairs(kind: str):
        return [(place, names[kind].index(name)) for place, name in enumerate(TODAY[kind])]

    for ours, other in pairs("features"):
        assert moved["challenger"][0, ours] == theirs["challenger"][0, other]
        assert moved["linear"][0, ours] == theirs["linear"][0, other]
        for part in range(3):
            rows = moved["network"], theirs["network"]
            assert (rows[0][part * NETWORK_ROWS + ours] == rows[1][part * NETWORK_ROWS + other]).all()
        for cross, other_cross in pairs("crosses"):
            for half in (0, LINEAR_ROWS):
                row, other_row = (half + 1 + CROSS_BUCKETS * each + 5 for each in (cross, other_cross))
                assert moved["linear"][row, ours] == theirs["linear"][other_row, other]
    for ours, other in pairs("context_features"):
        row = moved["network"][2 * NETWORK_ROWS + FEATURES_WIDE + ours]
        assert (row == theirs["network"][2 * NETWORK_ROWS + FEATURES_WIDE + other]).all()
    for ours, other in pairs("rankings"):
        assert (moved["outcomes"][:, ours] == theirs["outcomes"][:, other]).all()
        assert (moved["drifts"][ours] == theirs["drifts"][other]).all()
    for ours, other in pairs("conversion_features"):
        for start in (WEIGHTS, MEANS):
            assert moved["conversion"][0, start + ours] == theirs["conversion"][0, start + other]
        assert (moved["pending"][:, PENDING_FEATURES + ours] == theirs["pending"][:, PENDING_FEATURES + other]).all()
    last = slice(NETWORK_ROWS - 2, NETWORK_ROWS)
    assert (moved["network"][last] == theirs["network"][last]).all(), "biases and output weights"


def test_a_state_in_this_order_is_not_touched():
    tables = of_random_numbers(0)
    views = views_of(tables)
    assert reorder_views(views, TODAY) == views
    reorder_tables(tables, TODAY)
    assert not any(table.dirty.any() for table in tables.values())


def test_what_moved_is_written_whole_with_the_next_delta():
    tables, names = of_random_numbers(4), shuffled_names(4)
    tables["linear"].data[:] = 0
    reorder_tables(tables, names)
    delta = tables.checkpoint()
    assert set(delta) == set(MOVES)
    assert {name: len(part.blocks) for name, part in delta.items()} == {
        name: tables[name].spec.blocks for name in MOVES
    }, "zeros included, because an older delta may have something else there"


def test_answers_and_merges_of_a_state_in_another_order_are_the_same(model, happened):
    shops = [model(), model()]
    for number, shop in enumerate(shops):
        shop.learn(
            happened(f"u{number}{user}", f"i{(user + step) % 9}", 1_000_000.0 + 60 * user + step, tested=3)
            for user in range(40)
            for step in range(4)
        )
    settings, names = shops[0].settings, shuffled_names(9)
    specs = table_specs(settings)
    stored = [tables_of(settings, in_other_order(specs, names, shop.learner.tables.snapshot())) for shop in shops]

    def lists(views) -> list:
        return [Model(settings, views).recommend(Query(user=f"u0{user}", n=9)) for user in range(12)]

    assert lists(views_of(stored[0])) != lists(views_of(shops[0].learner.tables)), "weights of other features"
    assert lists(reorder_views(views_of(stored[0]), names)) == lists(views_of(shops[0].learner.tables))
    ours = merged(settings, {0: views_of(shops[0].learner.tables), 1: views_of(shops[1].learner.tables)})
    mixed = {0: reorder_views(views_of(stored[0]), names), 1: views_of(shops[1].learner.tables)}
    assert merged(settings, mixed) == ours, "a shard whose worker is of another release"
