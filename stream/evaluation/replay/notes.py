"""Notes on the values of a history: what a reader of the figures should know of its ids, quantities, kinds and ratings.

This file decides which sentences there are. Notes on order and repetitions are decided in `stream.evaluation.protocol`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import is_frozen_split
from stream.ingest.files.dataset import Dataset
from stream.ingest.files.mapped import UNMAPPED_ELEMENTS
from stream.ingest.files.row_checks import NumberIds
from stream.ingest.kinds import is_known, unknown_kind_sentence
from stream.ingest.left_out import BOT, CONSENT, NULL_ID, ZERO_QUANTITY
from stream.ingest.mapping.plan import EMPTY_LIST, UNMAPPED
from stream.values import RatingScale

STARS = re.compile(r"r(\d+(?:\.\d+)?)")
"""Kinds that are ratings by their name, such as `r5` for five stars."""

ENOUGH_RATINGS = 100
"""Ratings from which on their range is judged."""

LONG_AGO_SECONDS = 86_400 * 366
"""Times after 1970 are meant as such: beside them, a time of 0 is a missing one."""

_RULES = {
    NULL_ID: "an id is a word for no value, such as NULL (CORRENTE_MODEL__NULL_IDS)",
    ZERO_QUANTITY: "quantity is 0, neither a purchase nor a return",
    CONSENT: "consent is none (CORRENTE_MODEL__CONSENT_DEFAULT where a row names none)",
    BOT: "a program made the event, not a visitor",
    UNMAPPED: "no rule of the mapping fits the record",
    EMPTY_LIST: "the list that the mapping cuts is empty",
    UNMAPPED_ELEMENTS: "the mapping names no kind for these elements of lists, and leaves them out",
}


def notes_on_rows(data: Dataset) -> tuple[str, ...]:
    """Sentences about the rows that are left out, ids that a program wrote as fractions, returns, and times of 0."""
    notes = [
        f"{count} rows are left out, as a worker leaves them out (unlearned:{rule}): {_RULES[rule]}"
        for rule, count in sorted(data.left_out.items())
    ]
    if data.aggregate is not None:
        notes.append(f"{int(data.aggregate.sum())} events have the consent aggregate: they count and are not tested")
    for column, coded in (("item", data.item), ("user", data.user), ("session", data.session)):
        ids = NumberIds()
        ids.add(() if coded is None else coded.names)
        notes += ids.sentences(column)
    if data.returns:
        notes.append(f"{data.returns} purchases have a negative quantity; each was taken as a return")
    without_time = int((data.seconds == 0).sum())
    if without_time and data.seconds.max() > LONG_AGO_SECONDS:
        notes.append(f"{without_time} rows have the time 0, which is 1970; their counts are long forgotten")
    return tuple(notes)


def notes_on_values(
    data: Dataset, ratings: NDArray[np.bool_], weights: Collection[str], scale: RatingScale
) -> tuple[str, ...]:
    """Sentences about kinds that are unknown, and about ratings that do not use their scale.

    Args:
        data: the kept events.
        ratings: (n,) True for events of kind `rating` with a value.
        weights: the kinds that have a weight in the settings.
        scale: of ratings.
    """
    occurring = [data.event.names[code] for code in np.unique(data.event.codes)]
    notes = []
    if not is_frozen_split(occurring):
        counts = np.bincount(data.event.codes, minlength=len(data.event.names))
        for code, kind in enumerate(data.event.names):
            if counts[code] and not is_known(kind, weights) and not STARS.fullmatch(kind):
                notes.append(f"{counts[code]} events: {unknown_kind_sentence(kind, weights)}")
    count = int(ratings.sum())
    if data.value is not None and count >= ENOUGH_RATINGS:
        values = data.value[ratings]
        if sentence := scale.unused(count, float(values.min()), float(values.max())):
            notes.append(sentence)
    return tuple(notes)
