"""Sessions of the merge: all shards' sessions as one list of neighbours, and the lists of sessions by item.

A session that several shards have (of visitors that went from one shard to another) is one session with the items of
all. Sessions get new ordinals, so the ordinals in the items' lists are replaced.

This file decides the order of sessions (by when they were last seen, then by when they had begun in their shard), which
items a session keeps, and which sessions an item is found by: the newest that fit into the longest run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.kernels.ordinals import listed_ordinal, low_word, whole_column, write_column
from stream.models.kernels.row_pool import class_for, ring_row, run_row, run_rows
from stream.models.merging.numbering import Numbering, Rows, ShardRows, mapped
from stream.models.merging.runs import append_run, begin_pool, common_pointers, pool_sections
from stream.models.schema import POOL_POSTINGS, POSTING_ENTRIES, RUNS, SESSION_ITEMS, SESSIONS_BEGUN
from stream.state.compiled import compiled
from stream.state.tables import Tables

MAX_POSTINGS = RUNS[-1] * POSTING_ENTRIES
"""Sessions in the longest run."""


def session_rows(ordinals: NDArray, rows: int) -> NDArray:
    """The rows of sessions with these ordinals in a table of `rows` rows: `row_pool.ring_row` for an array."""
    return 1 + ordinals % (rows - 1)


def merge_sessions(tables: Tables, parts: Sequence[ShardRows], sessions: Numbering, items: Numbering) -> list[NDArray]:
    """Fill the tables `sessions` and `session_items`; the session that was last seen is the newest.

    Returns:
        By shard: the new ordinal by session row of the shard, 0 for a row that is not in use.
    """
    count = sessions.count
    last = np.zeros(count + 1, np.uint32)
    for shard, part in enumerate(parts):
        target = sessions.targets(shard)
        last[target] = np.maximum(last[target], part.sessions["last_seconds"][sessions.live[shard]])
    # Rows follow the order of beginning only until the first row is reused, so the ordinals are compared.
    began = np.zeros(count + 1, np.int64)
    for shard, part in enumerate(parts):
        target = sessions.targets(shard)
        fresh = began[target] == 0
        began[target[fresh]] = part.session_ordinals[sessions.live[shard]][fresh]
    order = np.lexsort((np.arange(1, count + 1), began[1:], last[1:])) + 1
    begun = int(tables["scalars"].data[0, SESSIONS_BEGUN])
    ordinals = np.zeros(count + 1, np.int64)
    ordinals[order] = begun - count + np.arange(1, count + 1)
    rows = tables["sessions"].data
    row_of_number = np.zeros(count + 1, np.int64)
    row_of_number[1:] = session_rows(ordinals[1:], len(rows))
    by_row = []
    for shard, part in enumerate(parts):
        source, target = part.sessions[sessions.live[shard]], sessions.targets(shard)
        place = row_of_number[target]
        for field in ("key0", "key1"):
            rows[field][place] = source[field]
        write_column(rows, "ordinal", place, ordinals[target])
        rows["last_seconds"][place] = last[target]
        inside = mapped(items.of[shard], part.session_items[sessions.live[shard]])
        append_items(place, inside, rows["items"], tables["session_items"].data)
        new = np.zeros(len(part.sessions), np.int64)
        new[sessions.live[shard]] = ordinals[target]
        by_row.append(new)
    return by_row


@compiled
def append_items(place: Rows, inside: NDArray, counts: NDArray, out: NDArray) -> None:
    """Append items to sessions: each once, the newest last, in the place of the oldest if a session is full.

    Args:
        place: (n,) rows of the sessions in `out`.
        inside: (n, items) of each session, oldest first; 0 for none.
        counts: by row of `out`, the number of its items; kept up to date.
        out: (rows, SESSION_ITEMS).
    """
    for number in range(place.size):
        row = place[number]
        for column in range(inside.shape[1]):
            item = inside[number, column]
            if item == 0:
                continue
            kept = 0
            for at in range(np.int64(counts[row])):
                if out[row, at] != item:
                    out[row, kept] = out[row, at]
                    kept += 1
            if kept == SESSION_ITEMS:
                for at in range(SESSION_ITEMS - 1):
                    out[row, at] = out[row, at + 1]
                kept -= 1
            out[row, kept] = item
            counts[row] = kept + 1


def merge_postings(
    tables: Tables,
    parts: Sequence[ShardRows],
    items: Numbering,
    ordinals: Sequence[NDArray],
    order: Rows,
    owners: int,
) -> None:
    """Fill the table `postings`, and the pointers to it in `items`.

    Args:
        tables: of the merge, with its sessions.
        parts: the shards.
        items: their numbering.
        ordinals: as `merge_sessions` gives them.
        order: items in the order in which they get their runs.
        owners: see `append_run`.
    """
    records = tables["items"].data
    sizes = [len(part.postings[1]) for part in parts]
    pool = np.empty((sum(sizes), POSTING_ENTRIES), np.int64)
    for part, new, section in zip(parts, ordinals, pool_sections(pool, sizes), strict=True):
        begun = int(part.scalars[SESSIONS_BEGUN])
        copy_postings(*part.postings, part.session_ordinals, begun, part.session_rows, new, section)
    posted = np.zeros(items.count + 1, np.int64)
    for shard, part in enumerate(parts):
        posted[items.targets(shard)] += whole_column(part.items, "posted")[items.live[shard]]
    pointers = common_pointers(items, [part.items["postings"] for part in parts], sizes)
    merge_posting_runs(
        pointers,
        pool,
        order,
        owners,
        posted,
        records["postings"],
        tables["postings"].data,
        tables["scalars"].data[0, POOL_POSTINGS:],
    )
    write_column(records, "posted", slice(len(posted)), posted)


@kernel
def copy_postings(data: NDArray, index: Rows, ordinals: Rows, begun: int, rows: int, new: Rows, out: NDArray) -> None:
    """Copy a shard's lists with the new ordinals of its sessions; 0 for a session whose row went to a newer one.

    Args:
        data, index: the shard's table of postings; row r is `data[index[r]]`.
        ordinals: of the shard's sessions, by row.
        begun: the shard's newest ordinal.
        rows: of the shard's whole table of sessions.
        new: new ordinals by row.
        out: (rows, entries).
    """
    for row in range(index.size):
        for column in range(POSTING_ENTRIES):
            word = data[index[row], column]
            ordinal = listed_ordinal(word, begun)
            session = ring_row(max(np.int64(0), ordinal), rows)
            alive = word != 0 and ordinal > 0 and session < ordinals.size and ordinals[session] == ordinal
            out[row, column] = new[session] if alive else 0


@compiled
def merge_posting_runs(
    pointers: NDArray,
    pool: NDArray,
    order: Rows,
    owners: int,
    posted: NDArray,
    merged: NDArray,
    out: NDArray,
    cells: NDArray,
) -> None:
    """Write each item's sessions of all shards into one run, newest first from the ring's position backwards.

    Args:
        pointers: (rows, shards), see `common_pointers`.
        pool: (rows, entries), the shards' pools with new ordinals.
        order, owners: as `merge_postings` gets them.
        posted: by item, the number of sessions that it was ever posted to, which is the ring's position; kept up to
            date.
        merged: by item, the pointer to its merged run; filled in.
        out: (rows, entries) of the merged pool.
        cells: of the merged pool in `scalars`.
    """
    found = np.empty(MAX_POSTINGS * pointers.shape[1], np.int64)
    begin_pool(cells)
    for item in order:
        size = 0
        for pointer in pointers[item]:
            if pointer == 0:
                continue
            for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
                for column in range(POSTING_ENTRIES):
                    if pool[row, column]:
                        found[size] = pool[row, column]
                        size += 1
        if size == 0:
            continue
        ordered = np.sort(found[:size])
        kept = 0
        for at in range(size - 1, -1, -1):  # newest first, each once
            if kept == 0 or ordered[at] != found[kept - 1]:
                found[kept] = ordered[at]
                kept += 1
                if kept == MAX_POSTINGS:
                    break
        pointer = append_run(cells, out.shape[0], class_for(kept, POSTING_ENTRIES), owners)
        if pointer == 0:
            continue
        merged[item] = pointer
        first, length = run_row(pointer), POSTING_ENTRIES * run_rows(pointer)
        kept = min(kept, length)
        total = max(posted[item], kept)
        posted[item] = total
        for age in range(kept):
            at = (total - 1 - age) % length
            out[first + at // POSTING_ENTRIES, at % POSTING_ENTRIES] = low_word(found[age])
