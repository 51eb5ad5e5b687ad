"""Event batch: events as arrays, one array for each field, one row for each event.

This file decides what a model gets to know of an event, the numbers of the kinds of events, the ways in which one is
learned, and the salts under which ids of items and events are hashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.hashing import SEPARATOR, Keys, salt_key

ITEM_SALT = "corrente items"
EVENT_SALT = "corrente events"
"""Fixed salts: the keys of items and events are equal in every model."""

CLICK, PURCHASE, VIEW, RATING, RETURN, OTHER_KIND = 1, 2, 3, 7, 8, 15
KINDS: Mapping[str, int] = {
    "click": CLICK,
    "purchase": PURCHASE,
    "view": VIEW,
    "cart": 4,
    "like": 5,
    "dislike": 6,
    "rating": RATING,
    "return": RETURN,
}
"""Number of each kind of event in a visitor's history; other kinds are `OTHER_KIND`."""

CONTEXT, LEARN, AGGREGATE = 0, 1, 2
"""Values of `EventBatch.learned`: the event goes into the visitor's history and changes no counts; it is learned; it is
counted for its item, and nothing is kept under its visitor (`learning.aggregate`)."""

WEIGHT_MOST = 100.0
"""Largest weight of an event; the smallest is its negative."""


def session_salt(visitor_salt: str) -> Keys:
    """The key of the hash of sessions, which is another one than that of users: the user 42 and the session 42 differ.

    Args:
        visitor_salt: of the settings. Users are hashed under it as it is.
    """
    return salt_key(f"sessions{SEPARATOR}{visitor_salt}")


class EventBatch(NamedTuple):
    """Events as arrays, in the order in which they are learned.

    Attributes:
        items, visitors, sessions: (n, 2) uint64 keys. The session of an event that names none has the visitor's key,
            and the visitor of an event that names no user has the session's.
        event_ids: (n,) uint64 hashes; 0 for an event without id.
        seconds: (n,) float64, Unix time.
        weights: (n,) int16 in 1/WEIGHT_ONE; negative takes weight back.
        kinds: (n,) uint8, see `KINDS`.
        values: (n,) float32, the value of a rating, else NaN.
        learned: (n,) uint8, `CONTEXT`, `LEARN` or `AGGREGATE`.
        tested: (n,) uint8, bits of `learning.event_loop`: `TEST` and `UPDATE`; 0 for an event that is not tested.
        names: uint8, names of the items joined by NUL.
        starts: (n + 1,) int64, start of each name, and last one past the end.
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
