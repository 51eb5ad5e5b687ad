"""One call from Python to make a list: find the visitor, rank, and write the ids of the items.

A list takes some hundred microseconds, of which several went into Python and into the borders between three kernels:
every array that crosses one costs its part. So a request crosses one border, with numbers and few arrays.

This file decides what a request hands to compiled code, and where the result lies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel, packed, packed_at
from stream.models.ranking.answer import answer
from stream.models.ranking.rank import Options
from stream.models.schema import CLOCK
from stream.models.workspace.item_names import write_names
from stream.models.workspace.scratch import UNIQUE, Work, new_work
from stream.models.workspace.visitor_lookup import find_visitor

FALLBACKS = ("trending", "session", None)
"""Words for what a list was made from, by the third number that `make_list` returns."""

NAME_ROOM = 64
"""Bytes of room for each id, with the byte after it; longer ones are written by a second call."""

WHO = 5
"""Places of a visitor in tables."""

LEAST_ROOM = 64
"""Items that the room of a thread holds at least."""


class Lookup(NamedTuple):
    """Arrays that turn ids into rows, and rows into ids.

    Attributes:
        names, names_index: the table of the ids of items.
        visitor_cells, session_cells: hints of the tables `visitors` and `sessions` (`kernels.key_hints`).
        salts: of users, then of sessions, two words each.
    """

    names: NDArray[Any]
    names_index: NDArray[np.int32]
    visitor_cells: NDArray[np.uint64]
    session_cells: NDArray[np.uint64]
    salts: NDArray[np.uint64]


class Room(NamedTuple):
    """Room for one list.

    Attributes:
        who: the places of the visitor, as `answer` takes them.
        seen_by: one word: the key of the visitor whose remembered items are left out; 0: none are.
        rows: of the items, best first.
        scores: of the same.
        names: their ids with NUL between them, in UTF-8.
    """

    who: NDArray[np.int64]
    seen_by: NDArray[np.uint64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    names: NDArray[np.uint8]


class Scratch:
    """Arrays of one thread: those of ranking, and room for the list.

    Attributes:
        work: of ranking.
        room: for the list.
    """

    def __init__(self) -> None:
        self.work: Work = new_work()
        self.work_address: int = address_of(self.work)
        self.reserve(LEAST_ROOM)

    def reserve(self, items: int) -> None:
        """Make room for so many items."""
        self.room = packed(
            Room(
                np.zeros(WHO, np.int64),
                np.zeros(1, np.uint64),
                np.zeros(items, np.int64),
                np.zeros(items),
                np.zeros(NAME_ROOM * items, np.uint8),
            )
        )
        self.items = items
        self.room_address = address_of(self.room)
        self.names = memoryview(self.room.names)  # type: ignore[arg-type]  # an array has a buffer


def address_of(arrays: Any) -> int:
    """The address of packed arrays, for a kernel; they have to be kept alive during its call."""
    address: int = arrays.address
    return address


_reader_at = packed_at("Reader")
_lookup_at = packed_at("Lookup")
_work_at = packed_at("Work")
_room_at = packed_at("Room")


@kernel
def make_list(
    reader_address: int,
    lookup_address: int,
    work_address: int,
    room_address: int,
    named: NDArray[np.uint8],
    has_session: bool,
    only_first: bool,
    by_session: bool,
    exclude_last: bool,
    exclude_had: bool,
    disabled: int,
    now: float,
    kinds: int,
    within: float,
    turned_down: NDArray[np.int64],
    recent: NDArray[np.int64],
    excluded: NDArray[np.int64],
    wanted: NDArray[np.int64],
    allowed: NDArray[np.uint8],
    popular: NDArray[np.uint32],
    by_challenger: bool,
    most: int,
) -> tuple[int, int, int]:
    """Fill in the list of a visitor.

    Args:
        reader_address, lookup_address, work_address, room_address: of the packed arrays.
        named: the user, the session, or both with NUL between them; empty: neither.
        has_session: a session is named.
        only_first, by_session, exclude_last, exclude_had, disabled: `Options`.
        now: moment of the list, in seconds; 0: of the last learned event.
        kinds, turned_down: as `answer` takes them.
        within: how long before that moment an event may be that counts for `kinds`; negative: any time.
        recent, excluded, wanted, allowed, popular, by_challenger: as `answer` takes them.
        most: length of the list; the room has as much.

    Returns:
        The number of items, the bytes of their ids (-1: they don't fit into the room), and a place in `FALLBACKS`.
    """
    reader, lookup = _reader_at(reader_address), _lookup_at(lookup_address)
    work, room = _work_at(work_address), _room_at(room_address)
    room.who[:] = 0
    room.seen_by[0] = 0
    if named.size:
        key = find_visitor(
            reader, named, lookup.salts, has_session, lookup.visitor_cells, lookup.session_cells, room.who
        )
        if only_first:
            room.seen_by[0] = key
    moment = now if now != 0.0 else reader.scalars[CLOCK]
    held = answer(
        reader,
        work,
        Options(only_first, by_session, exclude_last, exclude_had, disabled),
        room.who,
        room.seen_by[0],
        moment,
        kinds,
        moment - within if within >= 0.0 else 0.0,
        turned_down,
        recent,
        excluded,
        wanted,
        allowed,
        popular,
        by_challenger,
        room.rows[:most],
        room.scores[:most],
    )
    used = write_names(lookup.names, lookup.names_index, reader.items, reader.items_index, room.rows[:held], room.names)
    if work.counts[UNIQUE] == 0:
        return held, used, 0
    return held, used, 2 if room.who[0] or recent.size else 1
