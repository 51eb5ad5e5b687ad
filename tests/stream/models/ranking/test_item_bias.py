"""Bias of an item: how often it was chosen, against how often the ranker expected it."""

import numpy as np
import pytest

from stream.models.feature_names import ITEM_BIAS
from stream.models.learning.event_loop import TEST, UPDATE
from stream.models.merging.merge import merged
from stream.models.query import Query
from stream.models.ranking.item_bias import MAX_SUM
from stream.models.schema import CHOSEN, EXPECTED, ITEMS_EVICTED, UPDATES
from stream.models.workspace.scoring_view import views_of

START = 1_700_000_000.0


def taught(shop, happened, *, visitors=80, prefix="u", tested=TEST | UPDATE, seed=1):
    """A shop whose visitors walk along a circle of twenty items; every event is tested and updates the ranker."""
    draw = np.random.default_rng(seed)
    for visitor in range(visitors):
        at = int(draw.integers(20))
        events = []
        for step in range(8):
            at = (at + int(draw.choice([1, 1, 2, 5]))) % 20
            events.append(happened(f"{prefix}{visitor}", f"i{at}", START + 600 * visitor + 20 * step, tested=tested))
        shop.learn(events)
    return shop


@pytest.fixture
def shop(model, happened):
    return taught(model(), happened)


def test_each_update_expects_one_item_and_one_is_chosen(shop):
    sums, updates = shop.learner.tables["merits"].data, shop.learner.state.scalars[UPDATES]
    assert updates > 300
    assert sums[:, CHOSEN].sum() == updates
    assert sums[:, EXPECTED].sum() == pytest.approx(updates, rel=1e-3)
    assert (sums >= 0).all()


def test_events_that_update_no_ranker_leave_biases_alone(model, happened):
    assert not taught(model(), happened, tested=0).learner.tables["merits"].data.any()
    assert not taught(model(), happened, tested=TEST).learner.tables["merits"].data.any()


def test_the_feature_is_the_logarithm_of_chosen_over_expected(shop, happened):
    shop.learn([happened("me", "i3", START + 90_000)])
    rows = {name: row for row, name in enumerate(shop.answers().names(np.arange(21)))}
    sums = shop.learner.tables["merits"].data
    sums[rows["i4"], [EXPECTED, CHOSEN]] = 2, 11
    sums[rows["i5"], [EXPECTED, CHOSEN]] = 9, 4
    sums[rows["i6"]] = 0
    features = shop.say("me", START + 90_060).features
    assert features["i4"][ITEM_BIAS] == pytest.approx(np.log(12 / 3))
    assert features["i5"][ITEM_BIAS] == pytest.approx(np.log(5 / 10))
    assert features["i6"][ITEM_BIAS] == 0


def test_items_that_a_visitor_had_have_no_bias_for_them(shop, happened):
    shop.learn([happened("me", item, START + 90_000 + at) for at, item in enumerate(["i3", "i4", "i5"])])
    mine, others = shop.say("me", START + 90_060).features, shop.say("u1", START + 90_060).features
    assert {mine[item][ITEM_BIAS] for item in ("i3", "i4", "i5")} == {0}
    assert any(others[item][ITEM_BIAS] != 0 for item in ("i3", "i4", "i5") if item in others)


def test_an_item_that_does_better_than_expected_rises(shop, happened):
    shop.learn([happened("me", "i3", START + 90_000)])
    row = shop.answers().names(np.arange(21)).index("i7")
    sums = shop.learner.tables["merits"].data
    places = []
    for expected, chosen in ((9, 0), (9, 9), (0, 9)):
        sums[row, [EXPECTED, CHOSEN]] = expected, chosen
        places.append(shop.answers().recommend(Query(user="me", n=20)).items.index("i7"))
    assert places == sorted(places, reverse=True)
    assert places[0] > places[-1]


def test_biases_of_merged_shards_are_those_of_the_rehearsal(model, happened):
    shops = [taught(model(seed=3), happened, prefix=prefix, seed=seed) for seed, prefix in enumerate("ab")]
    views = [views_of(shop.learner.tables) for shop in shops]
    together = merged(shops[0].settings, dict(enumerate(views)))
    learned_by_shards = sum(shop.learner.state.scalars[UPDATES] for shop in shops)
    rehearsed = together["scalars"].data[0, UPDATES] - learned_by_shards
    assert rehearsed > 100
    assert together["merits"].data[:, CHOSEN].sum() == rehearsed
    alone = merged(shops[0].settings, {0: views[0]})
    assert alone["merits"].data.sum() == pytest.approx(shops[0].learner.tables["merits"].data.sum())


def test_an_evicted_item_loses_its_bias(model, happened):
    shop = taught(model(max_items=64), happened)
    sums, items = shop.learner.tables["merits"].data, shop.learner.tables["items"].data
    known = np.flatnonzero(sums[:, EXPECTED])
    # newer items, each had by three, until the old ones have to make room
    shop.learn([happened(f"v{n % 3}", f"new{n // 3}", START + 4e7 + n) for n in range(240)])
    assert shop.learner.state.scalars[ITEMS_EVICTED] >= len(known)
    assert not sums[known].any()
    assert items["key0"][known].any()  # others live in these rows now


def test_sums_stay_so_small_that_they_keep_small_probabilities_and_their_ratio_stays(model, happened):
    shop = taught(model(), happened)
    sums = shop.learner.tables["merits"].data
    live = np.flatnonzero(sums[:, EXPECTED] > 0)
    sums[live] = MAX_SUM - 0.5, MAX_SUM / 3
    taught(shop, happened, prefix="later", seed=2)
    assert (sums[live] < MAX_SUM).all()
    halved = live[sums[live, EXPECTED] < MAX_SUM - 1]
    assert len(halved) == len(live), "every item was compared, and its sums were halved"
    assert sums[live, CHOSEN] / sums[live, EXPECTED] == pytest.approx(1 / 3, rel=0.01)
