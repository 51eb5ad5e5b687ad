"""Rows of the visitor and of the session that a request names.

This file decides which session belongs to a request: the one it names, or else the visitor's last. It also finds the
purchases and dislikes that are kept, which may outlive the row of the visitor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.had.places import set_of
from stream.models.kernels.compile import kernel
from stream.models.kernels.hashing import siphash128
from stream.models.kernels.key_hints import find_hint
from stream.models.schema import KEPT_VISITORS, KEPT_WAYS
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.visitor_context import is_session


@kernel
def find_visitor(
    reader: Reader,
    named: NDArray[np.uint8],
    salts: NDArray[np.uint64],
    has_session: bool,
    visitor_cells: NDArray[np.uint64],
    session_cells: NDArray[np.uint64],
    who: NDArray[np.int64],
) -> np.uint64:
    """Fill in the places of the visitor, as `answer` takes it; returns the visitor's key.

    Args:
        named: the user, the session, or both with NUL between them.
        salts: of users, then of sessions, two words each.
        has_session: a session is named; without one it is the visitor's last.
    """
    end = 0
    while end < named.size and named[end] != 0:
        end += 1
    of_session = 2 if has_session and end == named.size else 0
    key0, key1 = siphash128(named, 0, end, salts[of_session], salts[of_session + 1])
    visitor = find_hint(visitor_cells, reader.visitors, reader.visitors_index, key0, key1)
    who[0] = visitor
    who[3] = find_kept(reader, key0)
    if has_session:
        last0, last1 = key0, key1
        if end < named.size:
            last0, last1 = siphash128(named, end + 1, named.size - end - 1, salts[2], salts[3])
            who[4] = find_kept(reader, last0)
            who[1] = find_hint(visitor_cells, reader.visitors, reader.visitors_index, last0, last1)
        who[2] = find_hint(session_cells, reader.sessions, reader.sessions_index, last0, last1)
    elif visitor:
        record = reader.visitors[reader.visitors_index[visitor]]
        session = np.int64(record.session)
        if session and is_session(record, reader.sessions[reader.sessions_index[session]]):
            who[2] = session
    return key0


@kernel
def find_kept(reader: Reader, key: np.uint64) -> int:
    """The place of a visitor whose purchases and dislikes are kept; 0 if nothing of theirs is.

    Args:
        key: first half of the visitor's key.
    """
    if reader.scalars[KEPT_VISITORS] == 0:
        return 0
    row = set_of(reader.kept_visitors_index.size, key)
    visitors = reader.kept_visitors[reader.kept_visitors_index[row]]
    for way in range(KEPT_WAYS):
        if visitors[way].key == key:
            return row * KEPT_WAYS + way
    return 0
