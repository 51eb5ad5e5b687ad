"""Set of a few keys, against which all keys of a batch are tested.

This file decides how such a test takes about a nanosecond a key: the lowest bits of a key lead to a mark, and only a
key whose place is marked is compared with the members.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.hashing import Keys, hash_ids
from stream.state.compiled import compiled

_MARKS = 4096
_NONE = np.empty(0, np.int64)


class KeySet:
    """The keys of a few ids.

    Args:
        ids: of which there may be none.
        salt: under which they and the tested ids are hashed.
    """

    def __init__(self, ids: Sequence[str], salt: Keys) -> None:
        self._keys = hash_ids(ids, salt)[:, 0].copy()
        self._marks = np.zeros(_MARKS, np.bool_)
        self._marks[self._keys % np.uint64(_MARKS)] = True

    def rows(self, keys: Keys) -> NDArray[np.int64]:
        """Numbers of the (n, 2) keys that are in the set, rising."""
        if not _count_in(keys, self._marks, self._keys):  # as in nearly every batch
            return _NONE
        return np.flatnonzero(np.isin(keys[:, 0], self._keys))


@compiled
def _count_in(keys: Keys, marks: NDArray[np.bool_], wanted: NDArray[np.uint64]) -> int:
    count = 0
    for row in range(len(keys)):
        key = keys[row, 0]
        if marks[key & np.uint64(_MARKS - 1)]:
            for number in range(wanted.size):
                count += key == wanted[number]
    return count
