"""Events that are counted for their items although they say no such consent: those of visitors who refuse profiling.

A visitor says so in their document, which changes over time, so the same record would be learned otherwise in a replay.
A decision is therefore made once, when a batch is decoded, and the journal has the places of the records that it was
made for. A replay takes the decision from there, and reads no document.

The places are those of records, not of events. If a record becomes several events, and one of them is of such a
visitor, all of them are counted only.

This file decides which events of a batch are changed to `AGGREGATE`. What becomes of those is decided in
`stream.models.learning.aggregate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.ingest.records import Place, Record
from stream.models.batch import EventBatch
from stream.models.event_codes import AGGREGATE, LEARN
from stream.models.kernels.hashing import Keys, hash_ids, salt_key

_place = itemgetter(0, 1)

NO_KEYS: Keys = np.zeros((0, 2), np.uint64)


class Counted(NamedTuple):
    """Events that are counted only.

    Attributes:
        visitors: (n, 2) keys of visitors, from `keys_of`: the events of these.
        places: of records: the events of these.
    """

    visitors: Keys = NO_KEYS
    places: frozenset[Place] = frozenset()

    def applied_to(self, events: EventBatch, records: Sequence[Record]) -> tuple[EventBatch, frozenset[Place]]:
        """The events, and the places of the records whose events are other than they say.

        Args:
            events: as they were decoded.
            records: the record of each event.
        """
        if not self.places and not len(self.visitors):
            return events, self.places
        learned = events.learned == LEARN
        refused = learned & among(self.visitors, events.visitors)
        places = {_place(records[row]) for row in np.flatnonzero(refused).tolist()}
        if self.places:
            places.update(self.places.intersection(map(_place, records)))
        if not places:
            return events, frozenset()
        changed = learned & np.fromiter(map(places.__contains__, map(_place, records)), np.bool_, len(records))
        found = frozenset(_place(records[row]) for row in np.flatnonzero(changed).tolist())
        return events._replace(learned=np.where(changed, np.uint8(AGGREGATE), events.learned)), found


NOBODY = Counted()


def keys_of(users: Sequence[str], visitor_salt: str) -> Keys:
    """Keys of users, as `Counted` takes them: rising by the first half."""
    if not users:
        return NO_KEYS
    keys = hash_ids(list(users), salt_key(visitor_salt))
    return np.ascontiguousarray(keys[np.argsort(keys[:, 0], kind="stable")])


def among(keys: Keys, visitors: Keys) -> NDArray[np.bool_]:
    """For each visitor whether their key is one of these, which rise by the first half.

    >>> keys = np.array([[3, 1], [7, 2]], np.uint64)
    >>> among(keys, np.array([[7, 2], [3, 2], [9, 9]], np.uint64)).tolist()
    [True, False, False]
    """
    if not len(keys):
        return np.zeros(len(visitors), np.bool_)
    at = np.minimum(np.searchsorted(keys[:, 0], visitors[:, 0]), len(keys) - 1)
    same: NDArray[np.bool_] = (keys[at] == visitors).all(axis=1)
    return same
