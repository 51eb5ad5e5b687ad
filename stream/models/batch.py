"""This file decides what a batch of events is to a model: one array a field, one row an event.

It also decides the numbers of the kinds of events, and the salts under which ids of items and events are hashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.hashing import Keys

ITEM_SALT = "corrente items"
EVENT_SALT = "corrente events"

CLICK, PURCHASE, VIEW, RATING, OTHER_KIND = 1, 2, 3, 7, 15
KINDS: Mapping[str, int] = {
    "click": CLICK,
    "purchase": PURCHASE,
    "view": VIEW,
    "cart": 4,
    "like": 5,
    "dislike": 6,
    "rating": RATING,
    "return": 8,
}

WEIGHT_MOST = 100.0
"""Weights are cut to this, either way."""


class EventBatch(NamedTuple):
    """Events as arrays, in the order in which they are learned.

    Attributes:
        items, visitors, sessions: (n, 2) uint64 keys. Without a session, the visitor's key.
        event_ids: (n,) uint64 hashes; 0 = the event has none.
        seconds: (n,) float64.
        weights: (n,) int16 in 1/WEIGHT_ONE; negative takes weight back.
        kinds: (n,) uint8.
        values: (n,) float32, the value of a rating, else NaN.
        learned: (n,) uint8; 0 = shown to the visitor's history, and nothing is learned from it.
        tested: (n,) uint8; 1 = test before learning.
        names, starts: names of the items joined by NUL, and where each starts (n + 1).
    """

    items: Keys
    visitors: Keys
    sessions: Keys
    event_ids: NDArray[np.uint64]
    seconds: NDArray[np.float64]
    weights: NDArray[np.int16]
    kinds: NDArray[np.uint8]
    values: NDArray[np.float32]
    learned: NDArray[np.uint8]
    tested: NDArray[np.uint8]
    names: NDArray[np.uint8]
    starts: NDArray[np.int64]
