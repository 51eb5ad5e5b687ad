"""Each feature of a click is what its name says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.models.feature_names import CONVERSION_FEATURE_NAMES
from stream.models.outcomes.conversion import describe
from stream.models.ranking.own_events import gather
from stream.models.schema import CONVERSION_FEATURES

NOON = 1_700_006_400.0 - 1_700_006_400.0 % 86_400.0 + 43_200.0


@pytest.fixture
def features(model, happened):
    """Features by name of a click by Ann at noon, on the item in this row, after three events of hers."""
    shop = model()
    shop.learn(
        [
            happened("bob", "lamp", NOON - 1000),
            happened("ann", "lamp", NOON - 300),
            happened("ann", "lamp", NOON - 200),
            happened("ann", "vase", NOON - 100),
        ]
    )

    def of(item: str | None) -> dict[str, float]:
        learner, answers = shop.learner, shop.answers()
        names = [""] + [answers.names(np.array([row]))[0] for row in (1, 2)]
        session = int(learner.tables["visitors"].data["session"][2])
        gather(learner.reader, learner.work, 2, 0, session, learner.work.no_items, NOON)
        learner.work.visit["similarity"][0] = 0.75
        out = np.full(CONVERSION_FEATURES, np.nan, np.float32)
        describe(learner.reader, learner.work, names.index(item or ""), 0.8, 0.5, out)
        return dict(zip(CONVERSION_FEATURE_NAMES, out.tolist(), strict=True))

    return of


def test_every_feature_is_named_once():
    assert len(set(CONVERSION_FEATURE_NAMES)) == CONVERSION_FEATURES


def test_features_of_a_known_item(features):
    assert features("lamp") == pytest.approx(
        {
            "item_count": 0.1 * math.log(1 + 3),
            "item_age": 0.07 * math.log(1 + 1000),
            "item_idle": 0.07 * math.log(1 + 200),
            "visitor_item_events": math.log(1 + 2),
            "history_length": 0.2 * math.log(1 + 3),
            "items_in_session": 0.3 * math.log(1 + 2),
            "visitor_idle": 0.1 * math.log(1 + 100),
            "neighbour_similarity": 0.75,
            "champion_rank": 0.8,
            "challenger_rank": 0.5,
            "day_sine": 0.0,
            "day_cosine": -1.0,
        },
        abs=1e-6,
    )


def test_a_new_item_has_no_features_of_its_own(features):
    new, known = features(None), features("lamp")
    of_the_item = {"item_count", "item_age", "item_idle", "visitor_item_events"}
    assert {name for name in CONVERSION_FEATURE_NAMES if new[name] != known[name]} == of_the_item
    assert {new[name] for name in of_the_item} == {0.0}
