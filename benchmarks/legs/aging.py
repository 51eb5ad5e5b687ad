"""A year in one model, in simulated time: what is left of its lists, its memory and its numbers.

A shop whose items and visitors change all the time is learned day by day. The model is as large as what the shop has at
one time, so rows are evicted for most of the year. A second model begins with the last month. Both are tested on the
same events of that month, before they learn them: a model that a year has made worse would be behind the young one.

Events are made as a shop makes them. A visitor has three groups of items, walks from an item to one of its neighbours
or to a popular one of the group, buys some, brings a part of that back after ten days, dislikes some, and rates some on
a scale of 0 to 100. Ids have 8 to 200 bytes. One seed gives the same year.

This file decides what the shop does and what is reported.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.machine import machine
from stream.models.batch import ITEM_SALT, EventBatch
from stream.models.event_codes import CLICK, PURCHASE, RATING, RETURN
from stream.models.kernels.hashing import SEPARATOR, hash_joined, salt_key
from stream.models.learning.event_loop import TEST, UPDATE, Outcomes
from stream.models.learning.learner import Learner
from stream.models.schema import (
    CHAMPION,
    NAME_CELLS,
    NAME_CELLS_FREE,
    POOL_HISTORY,
    POOL_PAIRS,
    POOL_POSTINGS,
    RUNS,
    WEIGHT_ONE,
)
from stream.models.settings import ModelSettings
from stream.state.finite import NotFinite
from stream.state.tables import delta_bytes

Numbers = NDArray[np.int64]

FIRST_DAY = 1_760_000_000.0
DAY = 86_400.0
MONTH_DAYS = 30
GROUPS = 1000
"""Groups of items. An item belongs to the group of its number modulo this."""
PLACE_STRIDE = 61
"""Places in the order of popularity are this far apart in the order of age; no divisor of the places of a group."""
ITEM_DAYS = 240
"""Days after which all items of the shop have been replaced."""
VISITOR_DAYS = 90
"""Days after which all visitors have been replaced."""
ON_SALE = 0.95
"""Items on sale and visitors about at one time, as a part of the model's rows."""
VISIT_EVENTS = 5
"""Events of a visit."""
PURCHASED, DISLIKED, RATED = 0.06, 0.01, 0.01
"""Parts of the events that are no clicks."""
RETURNED = 0.2
"""Part of the purchases that come back."""
RETURN_DAYS = 10
RATING_SCALE = 100.0
BATCH_EVENTS = 2_000
UNMEASURED_DISTANCE = 500
"""Before the last month, one event in this number is tested, from which the ranker learns."""
TESTS = 20_000
"""Tests of each model in the last month."""
DISLIKE = 6


@dataclass(frozen=True)
class Size:
    """The size of a year.

    Attributes:
        visitors, items: rows of the model, and about what the shop has at one time.
        events: of the whole year.
        days: length of the year; the last `MONTH_DAYS` are tested.
    """

    visitors: int
    items: int
    events: int
    days: int = 365


@dataclass(frozen=True)
class Day:
    """Events of one day in the order of their times: (events,) arrays."""

    visitors: Numbers
    items: Numbers
    seconds: NDArray[np.float64]
    kinds: NDArray[np.uint8]
    values: NDArray[np.float32]


def measure(size: Size, seed: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench aging`.

    Args:
        size: of the year.
        seed: of everything random.
        progress: is called with one line of text for each month.

    Raises:
        ValueError: the year is no longer than the month that is tested.
    """
    if size.days <= MONTH_DAYS:
        raise ValueError(f"a year of {size.days} days has no last month of {MONTH_DAYS} after it has begun")
    settings = ModelSettings(
        max_items=size.items, max_visitors=size.visitors, max_sessions=size.visitors, max_event_ids=1000
    )
    shop = Shop(size, seed)
    aged, young = Aging(settings), Aging(settings)
    started = time.monotonic()
    every = max(1, size.events * MONTH_DAYS // size.days // TESTS)
    for day in range(size.days):
        last_month = day >= size.days - MONTH_DAYS
        for batch in shop.batches(day):
            numbers = aged.events + np.arange(len(batch.seconds))
            if last_month:
                aged.learn(batch, numbers % every == 0, measured=True)
                young.learn(batch, numbers % every == 0, measured=True)
            else:
                aged.learn(batch, numbers % UNMEASURED_DISTANCE == 0)
        aged.cut()
        if (day + 1) % MONTH_DAYS == 0:
            rows = aged.learner.rows()
            live = ", ".join(f"{name} {each['live']:,} ({each['evicted']:,} evicted)" for name, each in rows.items())
            progress(f"day {day + 1}: {aged.events:,} events, {live}, {memory_bytes() / 1e9:.2f} GB")
    young.cut()
    learned = {"aged": aged, "young": young}
    hits = {name: each.hit_rates() for name, each in learned.items()}
    return {
        "leg": "aging",
        "machine": machine(),
        "runs": 1,
        "seed": seed,
        "size": {"visitors": size.visitors, "items": size.items, "events": aged.events, "days": size.days},
        "figures": {
            **{f"{name}_hr10": round(hits[name].mean(), 4) for name in learned},
            "difference": round(float((hits["aged"] - hits["young"]).mean()), 4),
            "difference_error": round(float((hits["aged"] - hits["young"]).std() / math.sqrt(len(hits["aged"]))), 4),
            "not_finite": aged.not_finite + young.not_finite,
            "memory_bytes": memory_bytes(),
            "cut_bytes": round(aged.cut_bytes / aged.cuts),
            "median_batch_ms": round(float(np.median(aged.batch_seconds)) * 1e3, 2),
            "longest_batch_ms": round(max(aged.batch_seconds) * 1e3, 2),
            "seconds": round(time.monotonic() - started),
        },
        "ratios": {"aged_to_young": round(float(hits["aged"].mean() / max(1e-9, hits["young"].mean())), 3)},
        "rows": {name: each.learner.rows() for name, each in learned.items()},
        "fill": {name: fill(each.learner) for name, each in learned.items()},
        "tests": len(hits["aged"]),
    }


class Aging:
    """A model, what its tests said, and its cuts.

    Attributes:
        events: learned so far.
        not_finite: cuts that failed because of a number that is not finite; the tables go on.
        cuts, cut_bytes: number of cuts and their bytes.
        batch_seconds: time of each batch of the last month.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.learner = Learner(settings)
        self.events = self.not_finite = self.cuts = self.cut_bytes = 0
        self.batch_seconds: list[float] = []
        self._greater: list[NDArray[np.float32]] = []

    def learn(self, batch: EventBatch, chosen: NDArray[np.bool_], *, measured: bool = False) -> None:
        """Test the chosen ones of these events that have a positive weight, learn all, and keep ranks if `measured`."""
        tested = np.where(chosen & (batch.weights > 0), TEST | UPDATE, 0).astype(np.uint8)
        started = time.monotonic()
        outcomes = self.learner.learn(batch._replace(tested=tested))
        self.events += len(tested)
        if measured:
            self.batch_seconds.append(time.monotonic() - started)
            self._greater.append(ranks_of(outcomes, batch, tested))

    def cut(self) -> None:
        """Take a checkpoint, which looks at every number that was written."""
        self.cuts += 1
        delta = self.learner.tables.checkpoint()
        self.cut_bytes += delta_bytes(delta)
        try:
            self.learner.tables.check_finite(delta)
        except NotFinite:
            self.not_finite += 1

    def hit_rates(self) -> NDArray[np.float64]:
        """1 for each test of the last month whose item was among the first ten, else 0."""
        return (np.concatenate(self._greater) < 10).astype(np.float64)


def ranks_of(outcomes: Outcomes, batch: EventBatch, tested: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The champion's rank, from 0, of the item of each event that was to be tested; infinite where none was made."""
    ranks = np.full(len(batch.seconds), np.inf, np.float32)
    ranks[outcomes.events] = outcomes.greater[:, CHAMPION] + outcomes.equal[:, CHAMPION] / 2
    return ranks[tested != 0]


class Shop:
    """The events of a year.

    Args:
        size: of the year.
        seed: of everything random.
    """

    def __init__(self, size: Size, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._on_sale = int(ON_SALE * size.items)
        self._about = int(ON_SALE * size.visitors)
        self._salts = salt_key(ITEM_SALT), salt_key(ModelSettings().visitor_salt)
        self._coming_back: dict[int, list[tuple[Numbers, Numbers]]] = {}

    def batches(self, day: int) -> list[EventBatch]:
        """The events of a day, in batches for a learner."""
        events = self._day(day)
        starts = range(0, len(events.seconds), BATCH_EVENTS)
        return [self._batch(events, slice(start, start + BATCH_EVENTS)) for start in starts]

    def _day(self, day: int) -> Day:
        draw = np.random.default_rng([self._seed, day])
        visits = max(1, self._size.events // self._size.days // VISIT_EVENTS)
        newest_item = self._on_sale + int(day * self._on_sale / ITEM_DAYS)
        newest_visitor = self._about + int(day * self._about / VISITOR_DAYS)
        visitors = newest_visitor - 1 - draw.integers(self._about, size=visits)
        items = self._walk(draw, visitors, newest_item)
        begins = FIRST_DAY + day * DAY + np.sort(draw.random(visits)) * (DAY - 600.0)
        seconds = begins[:, None] + np.cumsum(draw.exponential(40.0, items.shape), axis=1)
        drawn = draw.random(items.shape)
        kinds = np.full(items.shape, CLICK, np.uint8)
        kinds[drawn < PURCHASED + DISLIKED + RATED] = RATING
        kinds[drawn < PURCHASED + DISLIKED] = DISLIKE
        kinds[drawn < PURCHASED] = PURCHASE
        everyone = np.repeat(visitors[:, None], VISIT_EVENTS, axis=1)
        brought_back = (kinds == PURCHASE) & (draw.random(items.shape) < RETURNED)
        self._coming_back.setdefault(day + RETURN_DAYS, []).append((everyone[brought_back], items[brought_back]))
        back = self._coming_back.pop(day, [])
        back_visitors, back_items = (
            np.concatenate([np.zeros(0, np.int64), *(each[side] for each in back)]) for side in (0, 1)
        )
        back_seconds = FIRST_DAY + day * DAY + draw.random(len(back_items)) * DAY
        joined = [
            np.concatenate([each.reshape(-1), more])
            for each, more in (
                (everyone, back_visitors),
                (items, back_items),
                (seconds, back_seconds),
                (kinds, np.full(len(back_items), RETURN, np.uint8)),
            )
        ]
        order = np.argsort(joined[2], kind="stable")
        visitors, items, seconds, kinds = (each[order] for each in joined)
        values = np.where(kinds == RATING, draw.random(len(kinds)) * RATING_SCALE, np.nan).astype(np.float32)
        return Day(visitors, items, seconds, kinds, values)

    def _walk(self, draw: np.random.Generator, visitors: Numbers, newest: int) -> Numbers:
        """Items of visits, (visits, VISIT_EVENTS): from one to its neighbour in the group, or to a popular one."""
        groups = (visitors * 7919 + draw.integers(3, size=len(visitors)) * 104_729) % GROUPS
        size = max(1, self._on_sale // GROUPS)
        places = np.empty((len(visitors), VISIT_EVENTS), np.int64)
        for step in range(VISIT_EVENTS):
            popular = np.minimum(size - 1, (size * draw.random(len(visitors)) ** 3).astype(np.int64))
            follows = (draw.random(len(visitors)) < 0.6) & (step > 0)
            near = (places[:, step - 1] + 1 + draw.integers(3, size=len(visitors))) % size
            places[:, step] = np.where(follows, near, popular)
        # Each place has one item at a time: a new one takes the place, and with it the popularity, of the oldest.
        newest_turn = ((newest - 1 - groups) // GROUPS)[:, None]
        turns = newest_turn - (newest_turn - places * PLACE_STRIDE % size) % size
        return groups[:, None] + GROUPS * turns

    def _batch(self, day: Day, part: slice) -> EventBatch:
        items, visitors = day.items[part].tolist(), day.visitors[part].tolist()
        names = np.frombuffer(SEPARATOR.join(map(item_name, items)).encode(), np.uint8)
        item_keys, starts = hash_joined(names, len(items), self._salts[0])
        users = np.frombuffer(SEPARATOR.join([f"u{visitor}" for visitor in visitors]).encode(), np.uint8)
        visitor_keys, _ = hash_joined(users, len(visitors), self._salts[1])
        kinds, values = day.kinds[part], day.values[part]
        weights = np.ones(len(items))
        for kind, weight in ((PURCHASE, 3.0), (RETURN, -3.0), (DISLIKE, -2.0)):
            weights[kinds == kind] = weight
        weights[kinds == RATING] = np.clip((values[kinds == RATING] - RATING_SCALE / 2) / 25, -2, 2)
        return EventBatch(
            items=item_keys,
            visitors=visitor_keys,
            sessions=visitor_keys,
            event_ids=np.zeros(len(items), np.uint64),
            seconds=day.seconds[part],
            weights=np.round(weights * WEIGHT_ONE).astype(np.int16),
            kinds=kinds,
            values=values,
            learned=np.ones(len(items), np.uint8),
            tested=np.zeros(len(items), np.uint8),
            names=names,
            starts=starts,
        )


def item_name(number: int) -> str:
    """The id of an item, of 8 to 200 bytes."""
    return f"item-{number:0{3 + number * 37 % 193}d}"


def fill(learner: Learner) -> dict[str, float]:
    """Parts of the pools and of the cells of names that are in use, from 0 to 1."""
    scalars = learner.state.scalars
    rows = {"pairs": POOL_PAIRS, "postings": POOL_POSTINGS, "history": POOL_HISTORY}
    spare = {name: float(scalars[base + 1 + len(RUNS)]) for name, base in rows.items()}
    used = {name: float(scalars[base]) - spare[name] for name, base in rows.items()}
    used["names"] = float(scalars[NAME_CELLS] - scalars[NAME_CELLS_FREE])
    most = {name: len(learner.tables[name].data) for name in used}
    most["pairs"] //= 2
    return {name: round(used[name] / most[name], 4) for name in used}


def memory_bytes() -> int:
    """Resident memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
