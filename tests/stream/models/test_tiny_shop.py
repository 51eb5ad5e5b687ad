"""A shop of 600 visitors and 80 items: after 2,000 events lists are personal, and much better than the popular items.

Each visitor has one of eight tastes of ten items. Four of five events are on an item of that taste, the others on any.
Within a taste, and among tastes, some are more popular than others.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

VISITORS, TASTES, OF_A_TASTE, EVENTS = 600, 8, 10, 2000
FAITHFUL = 0.8
"""Probability that an event is on an item of the visitor's own taste."""
CAPACITIES = {"max_items": 128, "max_visitors": 1024, "max_sessions": 2048, "max_event_ids": 64}


class TinyShop:
    """Visitors with planted tastes.

    Args:
        seed: of everything that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self._of_tastes = shares(TASTES, 0.5)
        self._of_items = shares(OF_A_TASTE, 0.8)
        self.tastes = self.draw.choice(TASTES, size=VISITORS, p=self._of_tastes)

    def next_item(self, visitor: int) -> str:
        faithful = self.draw.random() < FAITHFUL
        taste = self.tastes[visitor] if faithful else self.draw.choice(TASTES, p=self._of_tastes)
        return f"item {taste}-{self.draw.choice(OF_A_TASTE, p=self._of_items)}"

    def records(self) -> list[Record]:
        milliseconds = 1_700_000_000_000 + np.cumsum(self.draw.exponential(60_000, EVENTS)).astype(int)
        visitors = self.draw.integers(VISITORS, size=EVENTS)
        events = [{"user": f"v{visitor}", "item": self.next_item(visitor)} for visitor in visitors]
        return [
            Record("clicks", number, int(milliseconds[number]), json.dumps(event).encode())
            for number, event in enumerate(events)
        ]


def shares(count: int, skew: float) -> np.ndarray:
    weights = 1.0 / np.arange(1, count + 1) ** skew
    return weights / weights.sum()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_two_visitors_share_less_than_half_a_list_that_hits_far_more_than_the_popular_one(seed: int, rate: float):
    """With the default settings, whether every event is tested or one in ten."""
    shop = TinyShop(seed)
    shard = Shard(ModelSettings(**CAPACITIES), partition=0, shards=1)
    records = shop.records()
    for start in range(0, EVENTS, 200):
        assert shard.apply(records[start : start + 200], rate=rate) == []
    model = shard.model()
    popular = set(model.popular(10).items)
    lists = [set(model.recommend(Query(user=f"v{visitor}", n=10)).items) for visitor in range(VISITORS)]
    assert {len(listed) for listed in lists} == {10}

    nexts = [(visitor, shop.next_item(visitor)) for visitor in range(VISITORS) for _ in range(3)]
    hits = sum(item in lists[visitor] for visitor, item in nexts)
    of_popular = sum(item in popular for _, item in nexts)
    pairs = shop.draw.integers(VISITORS, size=(4000, 2))
    overlap = np.mean([len(lists[one] & lists[other]) / 10 for one, other in pairs if one != other])
    print(f"seed {seed}: overlap {overlap:.2f}, hits {hits / len(nexts):.2f}, popular {of_popular / len(nexts):.2f}")
    assert overlap <= 0.5
    assert hits >= 1.5 * of_popular
