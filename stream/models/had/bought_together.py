"""Items that are bought together: for each item the others that the same baskets held, and in how many baskets.

A basket is what a visitor buys within a day. A purchase adds 1 to the slot of each other item of the basket, and the
item to theirs. The basket is found in the visitor's kept purchases (`kept`), so clicks in between change nothing, and a
click costs nothing. An item that is bought again within a day is the same basket and counts once. A return takes
nothing back: the items were bought together all the same.

An item has `BOUGHT_SLOTS` slots. If all are taken, the smallest count makes room, and the new one begins with 1; of
equal counts the first slot. Counts have a half-life of ninety days: baskets are rarer than clicks, and what goes with a
thing changes slowly. A count is stored as what it was worth at the time in its slot (forward decay), which moves on
when an event is a half-life after it.

A slot carries a part of the other item's key, as a kept purchase does. If the item is evicted, its row has another key,
and the slot counts for no item; so an eviction need not look for it.

Rankers, sources and tests read nothing of this: it is a list of its own.

This file decides what a basket is, how a purchase is counted for its basket, and which items are bought together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.had.kept import entries_each, entry_of, first_entry, place_of
from stream.models.had.places import check_of, checks_of
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.marks import mark_block
from stream.models.schema import BOUGHT_SLOTS, KEPT_ENTRIES
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Views

BASKET_SECONDS = 86_400
"""Purchases of a visitor within this time are one basket."""
HALF_LIFE_SECONDS = 90 * 86_400.0


@inlined
def growth(landmark: float, seconds: float) -> float:
    """Amount at `landmark` of which 1 is left at `seconds`, hence what a basket at that time adds to a count."""
    return 2.0 ** min(1000.0, max(-1000.0, (seconds - landmark) / HALF_LIFE_SECONDS))


@kernel
def learn(state: State, key: np.uint64, item: int, seconds: float) -> None:
    """Count a purchase for the visitor's basket. Call it before the purchase is kept.

    Args:
        state: the tables.
        key: first half of the visitor's key.
        item: row of the item.
        seconds: time of the purchase.
    """
    visitors, entries = state.kept_visitors, state.kept_items
    place = place_of(visitors, key)
    if place == 0:
        return
    moment = np.int64(max(1.0, seconds))
    check = check_of(state.items[item].key0)
    own = entry_of(visitors, entries, place, item, check)
    if own >= 0 and in_basket(entries[own // KEPT_ENTRIES, own % KEPT_ENTRIES].bought, moment):
        return
    start = first_entry(visitors, entries, place)
    for at in range(start, start + entries_each(visitors, entries)):
        entry = entries[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
        other = np.int64(entry.item)
        if other == 0 or other == item or not in_basket(entry.bought, moment):
            continue
        if check_of(state.items[other].key0) == entry.check:
            add(state, item, other, entry.check, moment)
            add(state, other, item, check, moment)


@inlined
def in_basket(bought: np.uint32, moment: int) -> bool:
    """True if a purchase at this time, 0 for none, is in the basket of one at `moment`."""
    return bool(bought != 0 and abs(np.int64(bought) - moment) <= BASKET_SECONDS)


@kernel
def add(state: State, item: int, other: int, check: np.uint32, moment: int) -> None:
    """Count a basket in the slot that an item has for another, which gets one if need be.

    Args:
        state: the tables.
        item, other: rows.
        check: of the other item.
        moment: time of the basket, in seconds.
    """
    slots = state.bought[item]
    column = -1
    for number in range(BOUGHT_SLOTS):
        if slots[number].other == other and slots[number].check == check:
            column = number
    if column < 0:
        column = weakest(slots, moment)
        fresh = slots[column]
        fresh.other = other
        fresh.check = check
        fresh.weight = 0.0
        fresh.seconds = moment
    slot = slots[column]
    if moment - np.int64(slot.seconds) > HALF_LIFE_SECONDS:
        slot.weight = np.float32(slot.weight * growth(moment, slot.seconds))
        slot.seconds = moment
    slot.weight += np.float32(growth(slot.seconds, moment))
    blocks = state.bought_dirty.size // state.bought.shape[0]
    mark_block(state.bought_dirty, item * blocks + column * blocks // BOUGHT_SLOTS)


@inlined
def weakest(slots: NDArray, moment: int) -> int:
    """Number of the first free slot, or of the one with the smallest count at this time."""
    best = 0
    least = np.inf
    for number in range(BOUGHT_SLOTS):
        slot = slots[number]
        count = -1.0
        if slot.other:
            count = slot.weight * growth(moment, slot.seconds)
        if count < least:
            least = count
            best = number
    return best


@kernel
def forget(state: State, item: int) -> None:
    """Empty the slots of an item that is evicted. Slots of others that name it count for no item from then on."""
    blocks = state.bought_dirty.size // state.bought.shape[0]
    for number in range(BOUGHT_SLOTS):
        slot = state.bought[item, number]
        if slot.other:
            slot.other = 0
            slot.check = 0
            slot.weight = 0.0
            slot.seconds = 0
            mark_block(state.bought_dirty, item * blocks + number * blocks // BOUGHT_SLOTS)


def bought_with(views: Views, item: int, seconds: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Items that are bought together with one, those of the most baskets first; of equal ones the smaller row.

    Args:
        views: tables of a model.
        item: row of the item.
        seconds: time to which the counts are decayed.

    Returns:
        Rows of the items, and their numbers of baskets.
    """
    data, index = views["bought"]
    slots = data[index[item]]
    slots = slots[slots["other"] != 0]
    records, rows = views["items"]
    live = checks_of(records["key0"][rows[slots["other"]]]) == slots["check"]
    others, slots = slots["other"][live].astype(np.int64), slots[live]
    ages = (seconds - slots["seconds"]) / HALF_LIFE_SECONDS
    baskets = slots["weight"].astype(np.float64) * 2.0 ** np.clip(-ages, -1000.0, 1000.0)
    order = np.lexsort((others, -baskets))
    return others[order], baskets[order]
