"""Names that a misspelt one may have been meant as.

This file decides the sentence that follows a name that is not known.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest known name, or with all of them if none is near.

    >>> did_you_mean("itm", ["item", "user"]), did_you_mean("x", ["item", "user"])
    ("Did you mean 'item'?", 'There are: item, user.')
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(names)}."
