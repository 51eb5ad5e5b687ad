"""Numbers of the kinds of events, and of the ways in which an event is learned.

This file decides them. It imports nothing of the model, so that files of events are read without compiled code.
"""

from __future__ import annotations

from collections.abc import Mapping

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
"""Values of `batch.EventBatch.learned`: the event goes into the visitor's history and changes no counts; it is learned;
it is counted for its item, and nothing is kept under its visitor (`learning.aggregate`)."""
