"""Counts and ages as they were before each event, computed for a whole stream at once.

This file decides how long a visitor's history, how popular and how old an item was when an event happened. All of it is
computed from the columns of the stream alone, without a model, so slices of the errors are the same for every model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.integer]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def earlier_of_same(codes: Codes) -> Counts:
    """Number of earlier events with the code of each event.

    >>> earlier_of_same(np.array([7, 7, 3, 7])).tolist()
    [0, 1, 0, 2]
    """
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(codes) else np.zeros(0, int)
    run = np.repeat(starts, np.diff(np.concatenate([starts, [len(codes)]])))
    before = np.empty(len(codes), np.int64)
    before[order] = np.arange(len(codes)) - run
    return before


def seconds_since_first(codes: Codes, time: Floats) -> Floats:
    """Seconds since the first event (in stream order) with the same code; 0 for that event itself.

    >>> seconds_since_first(np.array([7, 3, 7]), np.array([10.0, 11.0, 15.0])).tolist()
    [0.0, 0.0, 5.0]
    """
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.maximum(0.0, time - time[first[inverse]])


def counts_before(codes: Codes, event: Codes, code: Codes) -> Counts:
    """Number of times that `code[i]` occurs in `codes` before event number `event[i]`; 0 for a padding of -1.

    >>> counts_before(np.array([7, 7, 3, 7]), np.array([2, 2, 4]), np.array([7, 3, -1])).tolist()
    [2, 0, 0]
    """
    width = len(codes) + 1
    places = np.sort(codes.astype(np.int64) * width + np.arange(len(codes)))
    wanted = code.astype(np.int64) * width
    counts = np.searchsorted(places, wanted + event) - np.searchsorted(places, wanted)
    return np.where(code >= 0, counts, 0)


def position_in_session(session: Codes) -> Counts:
    """Position of each event in its session, from 1."""
    return earlier_of_same(session) + 1
