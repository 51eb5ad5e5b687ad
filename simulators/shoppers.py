"""A shop whose customers' tastes are known, because they were planted.

Items belong to tastes. A shopper has two favourite tastes and visits the shop again and again; a visit stays in one of
them. From an item they often go to the one that follows it in its taste (the pan after the knife), else to any of the
taste, popular ones first, and now and then to any item at all. So a recommender that understands visitors can be right
often, and one that shows every visitor the popular items only sometimes: `best_hit_rate` is the upper bound.

`next_season` deals a share of the items out anew: items that went together no longer do. Choices never depend on
recommendations, so that the hit rate of a list is what it would have been for these very visitors.

This file decides the shop and every choice in it; everything follows from the seed. It uses no HTTP, Kafka or clock.

>>> shop = Shop(seed=1)
>>> [step.kind for step in (shop.step() for _ in range(2000))].count("purchase") > 50
True
>>> 0.5 < shop.best_hit_rate(10) < 0.9
True
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import NamedTuple

FOLLOWS = 0.5
"""Probability that the next item is the one that follows the last."""
ANYTHING = 0.08
"""Probability that the next item is any item of the shop."""
BUYS = 0.08
"""Probability that a shopper buys the item they look at."""
RETURNS = 0.1
"""Probability of a return, as a ratio to that of a purchase."""
VISIT_STEPS = 12
"""Average number of steps in a visit."""
ANONYMOUS = 0.2
"""Share of shoppers with a session and no user id."""


class Step(NamedTuple):
    """One step of a shopper. `session` names the visit; `user` is None for an anonymous shopper."""

    user: str | None
    session: str
    item: str
    kind: str


@dataclass
class _Shopper:
    name: str
    anonymous: bool
    favourites: tuple[int, int]
    visit: int = 0
    steps_left: int = 0
    taste: int = 0
    last: str | None = None
    bought: list[str] = field(default_factory=list)


class Shop:
    """Items, tastes and shoppers. `step` lets one of them do the next thing.

    Args:
        seed: seed of every random choice.
        items: number of items, dealt evenly to the tastes.
        tastes: number of tastes; some are favourites of more shoppers than others.
        shoppers: number of shoppers in the shop at the same time.
    """

    def __init__(self, seed: int, *, items: int = 600, tastes: int = 24, shoppers: int = 250) -> None:
        self._random = random.Random(seed)
        self.items = [f"item-{number:04}" for number in range(items)]
        self._taste_weights = [1 / (taste + 2) for taste in range(tastes)]
        dealt = self._random.sample(self.items, items)
        self.tastes = [dealt[taste::tastes] for taste in range(tastes)]
        self._taste_of = {item: taste for taste, members in enumerate(self.tastes) for item in members}
        self._shoppers = [self._new_shopper(number) for number in range(shoppers)]

    def step(self) -> Step:
        """Let a random shopper look at an item, buy the one they looked at, or return one they bought."""
        shopper = self._shoppers[self._random.randrange(len(self._shoppers))]
        if not shopper.steps_left:
            self._begin_visit(shopper)
        shopper.steps_left -= 1
        user = None if shopper.anonymous else shopper.name
        session = f"{shopper.name}-visit-{shopper.visit}"
        chance = self._random.random()
        if shopper.last and chance < BUYS:
            shopper.bought.append(shopper.last)
            return Step(user, session, shopper.last, "purchase")
        if shopper.bought and chance < BUYS * (1 + RETURNS):
            return Step(user, session, shopper.bought.pop(), "return")
        shopper.last = self._next_item(shopper)
        return Step(user, session, shopper.last, "click")

    def next_season(self, share: float = 0.5) -> None:
        """Deal a share of the items out anew, and draw new favourite tastes for every shopper."""
        moved = self._random.sample(self.items, int(len(self.items) * share))
        places = [(taste, self.tastes[taste].index(item)) for item in moved for taste in (self._taste_of[item],)]
        self._random.shuffle(moved)
        for item, (taste, place) in zip(moved, places, strict=True):
            self.tastes[taste][place] = item
            self._taste_of[item] = taste
        self._random.shuffle(self._taste_weights)
        for shopper in self._shoppers:
            shopper.favourites = self._favourites()
            shopper.steps_left = 0

    def path(self, taste: int, steps: int) -> list[str]:
        """Items of a taste that follow each other, from its most popular one on."""
        return self.tastes[taste][:steps]

    def best_hit_rate(self, n: int) -> float:
        """Hit rate, for the next click in a visit, of a list of `n` items made with all that is planted."""
        size = len(self.tastes[0])
        weights = sorted((1 / (place + 2) for place in range(size)), reverse=True)
        # The list holds the follower and the n - 1 most popular others.
        popular = sum(weights[: n - 1]) / sum(weights)
        return FOLLOWS + (1 - FOLLOWS - ANYTHING) * popular + ANYTHING * n / len(self.items)

    def _next_item(self, shopper: _Shopper) -> str:
        members = self.tastes[shopper.taste]
        chance = self._random.random()
        if chance < ANYTHING:
            return self._random.choice(self.items)
        if chance < ANYTHING + FOLLOWS and shopper.last in members:
            return members[(members.index(shopper.last) + 1) % len(members)]
        return self._random.choices(members, [1 / (place + 2) for place in range(len(members))])[0]

    def _begin_visit(self, shopper: _Shopper) -> None:
        shopper.visit += 1
        shopper.taste = shopper.favourites[self._random.random() < 0.3]
        shopper.last = None
        shopper.steps_left = 1 + int(self._random.expovariate(1 / VISIT_STEPS))

    def _new_shopper(self, number: int) -> _Shopper:
        return _Shopper(f"shopper-{number}", self._random.random() < ANONYMOUS, self._favourites())

    def _favourites(self) -> tuple[int, int]:
        first, second = self._random.choices(range(len(self.tastes)), self._taste_weights, k=2)
        return first, second
