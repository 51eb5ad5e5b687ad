"""Event batch: events as arrays, one array for each field, one row for each event.

This file decides what a model gets to know of an event, and the salts under which ids of items and events are hashed.
The numbers in its columns are those of `stream.models.event_codes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.hashing import SEPARATOR, Keys, salt_key

ITEM_SALT = "corrente items"
EVENT_SALT = "corrente events"
"""Fixed salts: the keys of items and events are equal in every model."""

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
        kinds: (n,) uint8, see `event_codes.KINDS`.
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
