"""Ordinals: whole numbers that rise by one for as long as a model lives, in rows of 48 bits and lists of 32.

At 150,000 sessions a second the ordinal of a session passes 2^32 after eight hours, and 2^48 after 59 years. A row has
room for a *low* word of 32 bits and a *high* word of 16. Lists of sessions are long and read for every answer, so an
entry is the low word alone: the newest ordinal is known, and the one that is meant is the newest with that word. This
is exact as long as no entry is 2^32 behind, and old entries are dropped long before
(`entities.sessions.drop_old_postings`).

Rows of release 0.1, which had 32 bits, have zeros where the high word is now, so they are read as they are.

This file decides how such a number is composed and taken apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import inlined

LOW_BITS = 32
LOW_MASK = 0xFFFFFFFF


@inlined
def whole(low: np.uint32, high: np.uint16) -> np.int64:
    """The number of a low and a high word."""
    return np.int64(low) | (np.int64(high) << LOW_BITS)


@inlined
def low_word(number: int) -> np.uint32:
    """The lower 32 bits of a number. As an entry of a list, 0 is no session: one session in 2^32 can't be listed."""
    return np.uint32(np.int64(number) & LOW_MASK)


@inlined
def high_word(number: int) -> np.uint16:
    """The 16 bits above the lower 32."""
    return np.uint16(np.int64(number) >> LOW_BITS)


@inlined
def began_before(word: np.uint32, newest: int) -> np.int64:
    """Number of ordinals by which an entry of a list is behind the newest.

    Args:
        word: the entry, not 0.
        newest: the newest ordinal that there is.
    """
    return (np.int64(newest) - np.int64(word)) & LOW_MASK


@inlined
def listed_ordinal(word: np.uint32, newest: int) -> np.int64:
    """The ordinal that an entry of a list means, the newest one with this low word; arguments as for `began_before`."""
    return np.int64(newest) - began_before(word, newest)


def whole_column(records: NDArray, name: str) -> NDArray[np.int64]:
    """The numbers in the fields `name` and `name_high` of an array of records."""
    return records[name].astype(np.int64) | (records[f"{name}_high"].astype(np.int64) << LOW_BITS)


def write_column(records: NDArray, name: str, rows: NDArray | slice, numbers: NDArray[np.int64]) -> None:
    """Write numbers into the fields `name` and `name_high` of these rows."""
    records[name][rows] = numbers & LOW_MASK
    records[f"{name}_high"][rows] = numbers >> LOW_BITS
