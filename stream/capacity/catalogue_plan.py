"""The memory plan of the catalogue: bytes that its documents take in each process that answers.

Columns have room for twice as many rows as there are documents right after they grew, so that is planned. A document is
planned with `PLANNED_STEPS` categories, their parents counted, as many tags, and `PLANNED_LABELS` labels; a catalogue
that has more of them is larger. Titles, pictures and links stay in Redis.

This file decides how the memory of documents, and of the results that are kept for filters, is added up. The columns
are decided in `stream.catalogue`.
"""

from __future__ import annotations

import sys

import numpy as np

from stream.catalogue.columns import FIRST_ROWS, FIRST_WIDTH, Columns
from stream.catalogue.snapshot import KEPT_FILTERS

ID_BYTES = 56
"""Longest id that is planned for, as in `memory_plan.PLANNED_NAME_CELLS`."""

PLANNED_STEPS = 8
"""Categories of a document, with their parents, and tags: each of them as many."""

PLANNED_LABELS = 4
"""Labels that items have. Every label of the catalogue takes a column, whichever items have it."""

LABEL_BYTES = 9
"""Bytes of a label in a row: a type, and a number."""

MOST_SPARE = 2
"""Rows that there is room for, at most, over rows that are filled."""

ENTRY_BYTES = 104
"""Most bytes of an entry in a dictionary of ids, with its number: measured with Python 3.11, right after it grew."""

ORDERED_BYTES = 4
"""Bytes of a row in the order of brands, and of a category in that of categories, if visitors hide some."""

RESULT_BYTES = 3
"""Bytes that the result of a filter takes for each document: a truth value, and a byte and a bit of a mask. Row numbers
are kept only for filters so narrow that they fit into the rest."""


def document_bytes() -> int:
    """Most bytes that a planned document takes in one process."""
    columns = Columns()
    first = sum(column.nbytes for column in vars(columns).values() if isinstance(column, np.ndarray)) // FIRST_ROWS
    numbers = 2 * (PLANNED_STEPS - FIRST_WIDTH) * columns.tags.itemsize
    row = first + numbers + PLANNED_LABELS * LABEL_BYTES
    ordered = (1 + PLANNED_STEPS) * ORDERED_BYTES
    return MOST_SPARE * row + ordered + sys.getsizeof("") + ID_BYTES + ENTRY_BYTES


def plan_catalogue(documents: int) -> dict[str, int]:
    """Most bytes of a catalogue in each process that answers, by use.

    >>> plan_catalogue(0)
    {'documents': 0, 'filters': 0}

    Args:
        documents: number of items with a document.
    """
    return {"documents": documents * document_bytes(), "filters": documents * KEPT_FILTERS * RESULT_BYTES}
