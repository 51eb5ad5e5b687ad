"""Several shards as one model: a merged count is the sum over the shards, in shard order.

Each shard has rows of its own for the items it has seen, so items, visitors and sessions are matched by key and
numbered anew: in the order of the shards, and within a shard in the order of its rows. Then

- counts and pair counts are added (decayed ones after being brought to the latest landmark), and of an item's pairs the
  strongest are kept that fit into the longest row, so that an answer costs the same for one shard and for eight;
- sessions of all shards are one list of neighbours, ordered by when they were last seen;
- a visitor's histories are joined by time;
- the ranker, the challenger and the vectors, which started from the same seeds, are averaged by number of updates;
- the ranker goes through the last events once more, on the counts of all (`rehearsal.py`).

The result has everything that answering needs, and events can be *shown* to its visitors. It never learns: what only
learning looks at (the window of event ids, the reservoir) is left empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.kernels.row_pool import ring_row
from stream.models.merging.rehearsal import rehearse
from stream.models.ranking.rank import Options, options_of
from stream.models.schema import (
    CLOCK,
    COUNT,
    ENTRY,
    EVENTS,
    FAST_LANDMARK,
    FAST_SUM,
    HISTORY_ENTRIES,
    ITEM_ROWS,
    ITEMS_LIVE,
    NAME_CELLS,
    NEWEST,
    NEWEST_WRITTEN,
    PAIR,
    PAIR_SLOTS,
    POOL_HISTORY,
    POOL_PAIRS,
    POOL_POSTINGS,
    POPULARITY_LANDMARK,
    POSTING_ENTRIES,
    RANDOM,
    RUN_SETS,
    RUNS,
    SEEN_WAYS,
    SESSION_ITEMS,
    SESSIONS_BEGUN,
    SET_SLOTS,
    STARTED,
    TESTS,
    TOP_ITEMS,
    TOP_SIZES,
    TOP_WIDTH,
    UPDATES,
    VISITOR_ROWS,
    VISITORS_LIVE,
    table_specs,
)
from stream.models.settings import ModelSettings
from stream.models.source_names import CUSTOM, HALF_LIVES, HALF_LIVES_SECONDS
from stream.models.sources.pairs import FAST_HALF_LIFE_SECONDS
from stream.state.compiled import compiled
from stream.state.tables import Tables

Views = Mapping[str, tuple[NDArray, NDArray]]
Rows = NDArray[np.int64]

LONGEST_PAIRS = RUNS[-1] * PAIR_SLOTS
LONGEST_POSTINGS = RUNS[-1] * POSTING_ENTRIES
LONGEST_HISTORY = RUNS[-1] * HISTORY_ENTRIES
ROW_BITS = np.uint32(0x3FFFFFFF)


def merged(
    settings: ModelSettings, shards: Mapping[int, Views], *, room: int = 0, options: Options | None = None
) -> Tables:
    """One set of tables that answers as all shards together would.

    Args:
        settings: of the shards.
        shards: by partition, the tables of each.
        room: rows for so many more items, visitors and sessions, for those who show it events.
        options: what may be ranked, by default what the settings say.
    """
    parts = [_Part(shards[partition]) for partition in sorted(shards)]
    items = _Union([part.items for part in parts])
    visitors = _Union([part.visitors for part in parts])
    sessions = _Union([part.sessions for part in parts])
    capacities = {
        "max_items": max(64, items.count + room),
        "max_visitors": max(64, visitors.count + room),
        "max_sessions": max(64, sessions.count + room),
        "max_event_ids": 64,
    }
    tables = Tables(table_specs(settings.model_copy(update=capacities)))
    _merge_scalars(tables, parts, items, visitors)
    _merge_names_and_items(tables, parts, items, visitors)
    _merge_sums(tables, parts, items)
    _merge_pairs(tables, parts, items)
    ordinals = _merge_sessions(tables, parts, sessions, items, visitors)
    _merge_postings(tables, parts, items, ordinals)
    _merge_histories(tables, parts, visitors, items, ordinals)
    _merge_top(tables, items)
    _merge_weights(tables, parts, items)
    if settings.repeats == "first":
        for part in parts:
            _take_seen(tables["seen"].data, part.seen)
    if len(parts) > 1:
        rehearse(tables, options or options_of(settings))
    return tables


class _Part:
    """The rows in use of one shard, in its own numbering."""

    def __init__(self, views: Views) -> None:
        def places(name: str, count: float) -> tuple[NDArray, Rows]:
            data, index = views[name]
            return data, index[: max(1, int(count))]

        def rows(name: str, count: float) -> NDArray:
            data, index = places(name, count)
            return data[index]

        self.scalars = rows("scalars", 1)[0]
        handed = {name: self.scalars[base] for name, base in POOLS.items()}
        begun = self.scalars[SESSIONS_BEGUN]
        self.items = rows("items", self.scalars[ITEM_ROWS])
        self.sums = rows("sums", self.scalars[ITEM_ROWS])
        self.vectors = places("vectors", self.scalars[ITEM_ROWS])
        self.merits = rows("merits", self.scalars[ITEM_ROWS])
        self.added = {name: rows(name, self.scalars[ITEM_ROWS]) for name in CUSTOM}
        self.names = rows("names", self.scalars[NAME_CELLS])
        self.visitors = rows("visitors", self.scalars[VISITOR_ROWS])
        self.session_rows = len(views["sessions"][1])
        """Rows of the whole table, by which an ordinal leads to its row."""
        self.sessions = rows("sessions", begun + 2)
        self.session_items = rows("session_items", begun + 2)
        # The largest tables are read where they lie: a copy of them takes as long as what is done with it.
        self.pairs = places("pairs", RUN_SETS * handed["pairs"])
        self.postings = places("postings", handed["postings"])
        self.history = places("history", handed["history"])
        self.seen = rows("seen", len(views["seen"][1]))
        self.linear = rows("linear", len(views["linear"][1]))
        self.network = rows("network", len(views["network"][1]))
        self.challenger = rows("challenger", 1)


POOLS = {"pairs": POOL_PAIRS, "postings": POOL_POSTINGS, "history": POOL_HISTORY}


class _Union:
    """Rows of several tables, matched by key: `of[s][row]` is the common number of row `row` of shard s, 0 for none."""

    def __init__(self, tables: Sequence[NDArray]) -> None:
        live = [np.flatnonzero((table["key0"] != 0) | (table["key1"] != 0)) for table in tables]
        live = [rows[rows > 0] for rows in live]
        keys = np.concatenate(
            [
                np.column_stack([table["key0"][rows], table["key1"][rows]])
                for table, rows in zip(tables, live, strict=True)
            ]
        )
        order = np.lexsort((np.arange(len(keys)), keys[:, 1], keys[:, 0]))
        ordered = keys[order]
        fresh = np.ones(len(keys), bool)
        fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        group = np.cumsum(fresh) - 1
        firsts = order[fresh]  # where each key is met first, by key
        number_of_group = np.empty(len(firsts), np.int64)
        number_of_group[np.argsort(firsts)] = np.arange(1, len(firsts) + 1)
        numbers = np.empty(len(keys), np.int64)
        numbers[order] = number_of_group[group]
        self.count = len(firsts)
        self.live = live
        self.of: list[Rows] = []
        at = 0
        for table, rows in zip(tables, live, strict=True):
            mapping = np.zeros(len(table), np.int64)
            mapping[rows] = numbers[at : at + len(rows)]
            at += len(rows)
            self.of.append(mapping)

    def targets(self, shard: int) -> Rows:
        """Common numbers of the live rows of a shard, in the order of `live[shard]`."""
        return self.of[shard][self.live[shard]]


def _mapped(mapping: NDArray, rows: NDArray) -> NDArray:
    """Rows of a shard in the common numbering; a row beyond what is in use is none."""
    return np.where(rows < len(mapping), mapping[np.minimum(rows, len(mapping) - 1)], 0)


def _rows_of(ordinals: NDArray, rows: int) -> NDArray:
    """As `sessions.row_of`, for many."""
    return 1 + ordinals % (rows - 1)


def _merge_scalars(tables: Tables, parts: Sequence[_Part], items: _Union, visitors: _Union) -> None:
    scalars = tables["scalars"].data[0]
    all_scalars = np.array([part.scalars for part in parts])
    for cell in (EVENTS, TESTS, UPDATES, SESSIONS_BEGUN):
        scalars[cell] = all_scalars[:, cell].sum()
    for cell in (CLOCK, POPULARITY_LANDMARK, FAST_LANDMARK, STARTED):
        scalars[cell] = all_scalars[:, cell].max()
    scalars[RANDOM] = all_scalars[0, RANDOM]
    scalars[ITEM_ROWS], scalars[ITEMS_LIVE] = items.count + 1, items.count
    scalars[VISITOR_ROWS], scalars[VISITORS_LIVE] = visitors.count + 1, visitors.count


def _merge_names_and_items(tables: Tables, parts: Sequence[_Part], items: _Union, visitors: _Union) -> None:
    records, names = tables["items"].data, tables["names"].data
    cells = 1
    for shard, part in enumerate(parts):
        source, target = part.items[items.live[shard]], items.targets(shard)
        known = records["key0"][target] != 0
        known |= records["key1"][target] != 0
        fresh = target[~known]
        moved = _copy_names(part.names, source["name"][~known].astype(np.int64), names, cells)
        cells += int(moved[-1]) if len(moved) else 0
        for field in ("key0", "key1", "name_bytes"):
            records[field][fresh] = source[field][~known]
        records["name"][fresh] = moved[:-1]
        first = records["first_seconds"][target]
        records["first_seconds"][target] = np.where(
            known, np.minimum(first, source["first_seconds"]), source["first_seconds"]
        )
        newer = source["last_seconds"] > records["last_seconds"][target]
        who = _mapped(visitors.of[shard], source["last_visitor"]).astype(np.uint32)
        before, other_before = records["last_seconds"][target], records["other_seconds"][target]
        records["other_seconds"][target] = np.where(
            newer,
            np.maximum(source["other_seconds"], np.where(records["last_visitor"][target] == who, other_before, before)),
            np.maximum(
                other_before,
                np.where(records["last_visitor"][target] == who, source["other_seconds"], source["last_seconds"]),
            ),
        )
        records["last_seconds"][target] = np.where(newer, source["last_seconds"], before)
        records["last_visitor"][target] = np.where(newer, who, records["last_visitor"][target])
    tables["scalars"].data[0, NAME_CELLS] = cells


@compiled
def _copy_names(source: NDArray, firsts: Rows, target: NDArray, cell: int) -> NDArray:
    """Copy chains of cells; returns where each begins now, and last how many cells were used."""
    begins = np.zeros(firsts.size + 1, np.int64)
    start = cell
    for number in range(firsts.size):
        at = firsts[number]
        begins[number] = cell if at else 0
        while at:
            target[cell] = source[at]
            at = np.int64(source[at, 0])
            target[cell, 0] = cell + 1 if at else 0
            cell += 1
    begins[firsts.size] = cell - start
    return begins


def _merge_sums(tables: Tables, parts: Sequence[_Part], items: _Union) -> None:
    sums, scalars = tables["sums"].data, tables["scalars"].data[0]
    for shard, part in enumerate(parts):
        scaled = part.sums[items.live[shard]].copy()
        behind = part.scalars[POPULARITY_LANDMARK] - scalars[POPULARITY_LANDMARK]
        for half_life in range(HALF_LIVES):
            scaled[:, half_life] *= 2.0 ** max(-1074.0, behind / HALF_LIVES_SECONDS[half_life])
        scaled[:, FAST_SUM] *= _fast_scale(part, scalars)
        sums[items.targets(shard)] += scaled
        if len(parts) == 1:  # what several rankers expected says nothing of the merged one: see `rehearsal`
            tables["merits"].data[items.targets(shard)] = part.merits[items.live[shard]]
        for name, own in part.added.items():
            tables[name].data[items.targets(shard)] += own[items.live[shard]]


def _fast_scale(part: _Part, scalars: NDArray) -> float:
    return float(2.0 ** max(-1000.0, (part.scalars[FAST_LANDMARK] - scalars[FAST_LANDMARK]) / FAST_HALF_LIFE_SECONDS))


def _merge_pairs(tables: Tables, parts: Sequence[_Part], items: _Union) -> None:
    scalars = tables["scalars"].data[0]
    sizes = [len(part.pairs[1]) // RUN_SETS for part in parts]
    pool = np.empty((RUN_SETS * sum(sizes), SET_SLOTS), PAIR)
    own = _parts_of(pool, [RUN_SETS * size for size in sizes])
    for shard, part in enumerate(parts):
        _take_pairs(*part.pairs, items.of[shard], np.float32(_fast_scale(part, scalars)), own[shard])
    pointers = _pointers(items, [part.items["pairs"] for part in parts], sizes)
    runs, out = pool.reshape(-1, PAIR_SLOTS), tables["pairs"].data.reshape(-1, PAIR_SLOTS)
    _unite_pairs(pointers, runs, tables["items"].data["pairs"], out, scalars[POOL_PAIRS:])


def _parts_of(pool: NDArray, sizes: Sequence[int]) -> list[NDArray]:
    """The shards' pools laid end to end, each by itself."""
    return np.split(pool, np.cumsum(sizes)[:-1])


@kernel
def _take_pairs(data: NDArray, index: Rows, items: Rows, fast: np.float32, out: NDArray) -> None:
    """A shard's pool in the common numbering, decayed to the common landmark; an item beyond what is in use is none."""
    for row in range(out.shape[0]):
        for column in range(SET_SLOTS):
            slot = data[index[row], column]
            other = np.int64(slot.other)
            target = out[row, column]
            target.other = items[other] if other < items.size else 0
            target.together = slot.together
            target.forward = slot.forward
            target.fast = slot.fast * fast


def _pointers(union: _Union, columns: Sequence[NDArray], sizes: Sequence[int]) -> NDArray[np.uint32]:
    """(rows, shards): where each common row's run is in the shards' pools laid end to end; 0 for none."""
    pointers = np.zeros((union.count + 1, len(columns)), np.uint32)
    offset = 0
    for shard, (column, size) in enumerate(zip(columns, sizes, strict=True)):
        own = column[union.live[shard]].astype(np.uint32)
        pointers[union.targets(shard), shard] = np.where(own == 0, 0, own + np.uint32(offset))
        offset += size
    return pointers


@compiled
def _class_for(entries: int, each: int) -> int:
    """The class of the shortest run with room for so many entries, `each` a row."""
    size = 0
    while size < 2 and entries > each * (1 << (2 * size)):
        size += 1
    return size


@compiled
def _unite_pairs(pointers: NDArray, pool: NDArray, owners: NDArray, out: NDArray, cells: NDArray) -> None:
    rows, shards = pointers.shape
    place = np.full(rows, -1, np.int64)
    most = LONGEST_PAIRS * shards
    others = np.empty(most, np.int64)
    counts = np.empty((most, 3), np.float32)
    row_out = 1
    owned = 0
    for item in range(1, rows):
        size = 0
        for shard in range(shards):
            pointer = pointers[item, shard]
            if pointer == 0:
                continue
            first = np.int64(pointer & ROW_BITS)
            for row in range(first, first + (1 << (2 * np.int64(pointer >> np.uint32(30))))):
                for column in range(PAIR_SLOTS):
                    slot = pool[row, column]
                    other = np.int64(slot.other)
                    if other == 0:
                        continue
                    at = place[other]
                    if at < 0:
                        at = size
                        place[other] = at
                        others[at] = other
                        counts[at] = 0
                        size += 1
                    counts[at, 0] += slot.together
                    counts[at, 1] += slot.forward
                    counts[at, 2] += slot.fast
        for at in range(size):
            place[others[at]] = -1
        if size == 0:
            continue
        least = np.float32(-1)
        ties = size
        if size > LONGEST_PAIRS:
            strength = np.sort(counts[:size, 0] + counts[:size, 1])
            least = strength[size - LONGEST_PAIRS]
            ties = LONGEST_PAIRS
            for at in range(size):
                ties -= strength[at] > least
        run = _class_for(min(size, LONGEST_PAIRS), PAIR_SLOTS)
        if row_out + (1 << (2 * run)) > out.shape[0]:
            continue
        owners[item] = np.uint32(row_out) | (np.uint32(run) << np.uint32(30))
        owned += 1
        written = 0
        for at in range(size):
            strong = counts[at, 0] + counts[at, 1]
            if strong < least:
                continue
            if strong == least:
                if ties == 0:
                    continue
                ties -= 1
            slot = out[row_out + written // PAIR_SLOTS, written % PAIR_SLOTS]
            slot.other = others[at]
            slot.together = counts[at, 0]
            slot.forward = counts[at, 1]
            slot.fast = counts[at, 2]
            written += 1
        row_out += 1 << (2 * run)
    cells[0] = row_out
    cells[5] = owned


def _merge_sessions(
    tables: Tables, parts: Sequence[_Part], sessions: _Union, items: _Union, visitors: _Union
) -> list[NDArray]:
    """Write the sessions of all shards, the one seen last as the newest; returns each shard's new ordinals.

    A list holds, by session row of its shard, the new ordinal (0 for none).
    """
    count = sessions.count
    last = np.zeros(count + 1, np.uint32)
    for shard, part in enumerate(parts):
        target = sessions.targets(shard)
        last[target] = np.maximum(last[target], part.sessions["last_seconds"][sessions.live[shard]])
    # Within a second, by the order in which they began in their shard. Rows follow that only until the oldest have made
    # room, so ordinals are asked.
    began = np.zeros(count + 1, np.int64)
    for shard, part in enumerate(parts):
        target = sessions.targets(shard)
        fresh = began[target] == 0
        began[target[fresh]] = part.sessions["ordinal"][sessions.live[shard]][fresh]
    order = np.lexsort((np.arange(1, count + 1), began[1:], last[1:])) + 1
    begun = int(tables["scalars"].data[0, SESSIONS_BEGUN])
    ordinals = np.zeros(count + 1, np.int64)
    ordinals[order] = begun - count + np.arange(1, count + 1)
    rows = tables["sessions"].data
    row_of_number = np.zeros(count + 1, np.int64)
    row_of_number[1:] = _rows_of(ordinals[1:], len(rows))
    by_row = []
    for shard, part in enumerate(parts):
        source, target = part.sessions[sessions.live[shard]], sessions.targets(shard)
        place = row_of_number[target]
        for field in ("key0", "key1"):
            rows[field][place] = source[field]
        rows["ordinal"][place] = ordinals[target]
        rows["last_seconds"][place] = last[target]
        rows["visitor"][place] = _mapped(visitors.of[shard], source["visitor"])
        inside = _mapped(items.of[shard], part.session_items[sessions.live[shard]])
        _unite_sessions(place, inside, rows["items"], tables["session_items"].data)
        new = np.zeros(len(part.sessions), np.int64)
        new[sessions.live[shard]] = ordinals[target]
        by_row.append(new)
    return by_row


@compiled
def _unite_sessions(place: Rows, inside: NDArray, counts: NDArray, out: NDArray) -> None:
    """Append the items of each session to its row: each once, the newest last, the oldest make room."""
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


def _merge_postings(tables: Tables, parts: Sequence[_Part], items: _Union, ordinals: Sequence[NDArray]) -> None:
    records = tables["items"].data
    sizes = [len(part.postings[1]) for part in parts]
    pool = np.empty((sum(sizes), POSTING_ENTRIES), np.int64)
    for part, new, own in zip(parts, ordinals, _parts_of(pool, sizes), strict=True):
        _take_postings(*part.postings, part.sessions["ordinal"], part.session_rows, new, own)
    for shard, part in enumerate(parts):
        records["posted"][items.targets(shard)] += part.items["posted"][items.live[shard]]
    pointers = _pointers(items, [part.items["postings"] for part in parts], sizes)
    _unite_postings(
        pointers,
        pool,
        records["posted"],
        records["postings"],
        tables["postings"].data,
        tables["scalars"].data[0, POOL_POSTINGS:],
    )


@kernel
def _take_postings(data: NDArray, index: Rows, ordinals: NDArray, rows: int, new: Rows, out: NDArray) -> None:
    """A shard's lists with the new ordinals of its sessions; 0 for one that has made room.

    Args:
        data, index: of the table.
        ordinals: of the shard's sessions, by row.
        rows: of the shard's whole table of sessions.
        new: ordinals by row.
        out: (rows, entries).
    """
    for row in range(index.size):
        for column in range(POSTING_ENTRIES):
            ordinal = np.int64(data[index[row], column])
            session = ring_row(ordinal, rows)
            alive = ordinal > 0 and session < ordinals.size and np.int64(ordinals[session]) == ordinal
            out[row, column] = new[session] if alive else 0


@compiled
def _unite_postings(
    pointers: NDArray, pool: NDArray, posted: NDArray, owners: NDArray, out: NDArray, cells: NDArray
) -> None:
    rows, shards = pointers.shape
    found = np.empty(LONGEST_POSTINGS * shards, np.int64)
    row_out = 1
    owned = 0
    for item in range(1, rows):
        size = 0
        for shard in range(shards):
            pointer = pointers[item, shard]
            if pointer == 0:
                continue
            first = np.int64(pointer & ROW_BITS)
            for row in range(first, first + (1 << (2 * np.int64(pointer >> np.uint32(30))))):
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
                if kept == LONGEST_POSTINGS:
                    break
        run = _class_for(kept, POSTING_ENTRIES)
        if row_out + (1 << (2 * run)) > out.shape[0]:
            continue
        owners[item] = np.uint32(row_out) | (np.uint32(run) << np.uint32(30))
        owned += 1
        length = POSTING_ENTRIES * (1 << (2 * run))
        total = max(int(posted[item]), kept)
        posted[item] = total
        for age in range(kept):
            at = (total - 1 - age) % length
            out[row_out + at // POSTING_ENTRIES, at % POSTING_ENTRIES] = found[age]
        row_out += 1 << (2 * run)
    cells[0] = row_out
    cells[5] = owned


def _merge_histories(
    tables: Tables, parts: Sequence[_Part], visitors: _Union, items: _Union, ordinals: Sequence[NDArray]
) -> None:
    records = tables["visitors"].data
    newest = np.zeros(visitors.count + 1, np.int64)
    entries = np.zeros((visitors.count + 1, len(parts)), np.uint32)
    sizes = [len(part.history[1]) for part in parts]
    pool = np.empty((sum(sizes), HISTORY_ENTRIES), ENTRY)
    for shard, (part, own) in enumerate(zip(parts, _parts_of(pool, sizes), strict=True)):
        _take_histories(*part.history, items.of[shard], own)
    session_rows = len(tables["sessions"].data)
    for shard, part in enumerate(parts):
        source, target = part.visitors[visitors.live[shard]], visitors.targets(shard)
        known = (records["key0"][target] != 0) | (records["key1"][target] != 0)
        first = records["first_seconds"][target]
        for field in ("key0", "key1"):
            records[field][target] = source[field]
        records["first_seconds"][target] = np.where(
            known, np.minimum(first, source["first_seconds"]), source["first_seconds"]
        )
        records["last_seconds"][target] = np.maximum(records["last_seconds"][target], source["last_seconds"])
        ordinal = _mapped(ordinals[shard], source["session"])
        live = (source["session"] > 0) & (ordinal > 0)
        live &= _mapped(part.sessions["ordinal"], source["session"]) == source["session_ordinal"]
        later = live & (ordinal > newest[target])
        records["session"][target] = np.where(later, _rows_of(ordinal, session_rows), records["session"][target])
        records["session_ordinal"][target] = np.where(later, ordinal, records["session_ordinal"][target])
        newest[target] = np.where(later, ordinal, newest[target])
        entries[target, shard] = source["entries"]
    pointers = _pointers(visitors, [part.visitors["history"] for part in parts], sizes)
    _unite_histories(
        pointers,
        entries,
        pool,
        records["history"],
        records["entries"],
        tables["history"].data,
        tables["scalars"].data[0, POOL_HISTORY:],
    )


@kernel
def _take_histories(data: NDArray, index: Rows, items: Rows, out: NDArray) -> None:
    """A shard's histories in the common numbering of items."""
    for row in range(index.size):
        for column in range(HISTORY_ENTRIES):
            source = data[index[row], column]
            item = np.int64(source.item)
            target = out[row, column]
            target.item = items[item] if item < items.size else 0
            target.seconds = source.seconds
            target.weight = source.weight
            target.kind = source.kind
            target.learned = source.learned


@compiled
def _unite_histories(
    pointers: NDArray,
    entries: NDArray,
    pool: NDArray,
    owners: NDArray,
    counts: NDArray,
    out: NDArray,
    cells: NDArray,
) -> None:
    rows, shards = pointers.shape
    where = np.empty((LONGEST_HISTORY * shards, 2), np.int64)
    seconds = np.empty(LONGEST_HISTORY * shards, np.int64)
    row_out = 1
    owned = 0
    for visitor in range(1, rows):
        size = 0
        for shard in range(shards):
            pointer = pointers[visitor, shard]
            if pointer == 0:
                continue
            first = np.int64(pointer & ROW_BITS)
            length = HISTORY_ENTRIES * (1 << (2 * np.int64(pointer >> np.uint32(30))))
            written = int(entries[visitor, shard])
            for number in range(written - length if written > length else 0, written):
                at = number % length
                where[size, 0] = first + at // HISTORY_ENTRIES
                where[size, 1] = at % HISTORY_ENTRIES
                seconds[size] = pool[where[size, 0], where[size, 1]].seconds
                size += 1
        several = 0
        for shard in range(shards):
            several += pointers[visitor, shard] != 0
        order = np.arange(size)
        if several > 1:
            order = np.argsort(seconds[:size], kind="mergesort")
        kept = min(size, LONGEST_HISTORY)
        run = _class_for(kept, HISTORY_ENTRIES)
        if row_out + (1 << (2 * run)) > out.shape[0]:
            continue
        owners[visitor] = np.uint32(row_out) | (np.uint32(run) << np.uint32(30))
        owned += 1
        counts[visitor] = kept
        for number in range(kept):
            at = order[size - kept + number]
            source = pool[where[at, 0], where[at, 1]]
            target = out[row_out + number // HISTORY_ENTRIES, number % HISTORY_ENTRIES]
            target.item = source.item
            target.seconds = source.seconds
            target.weight = source.weight
            target.kind = source.kind
            target.learned = source.learned
        row_out += 1 << (2 * run)
    cells[0] = row_out
    cells[5] = owned


def _merge_top(tables: Tables, items: _Union) -> None:
    """The best of every half-life, and the newest; ties to the lower number."""
    top, sums, scalars = tables["top"].data, tables["sums"].data, tables["scalars"].data[0]
    records = tables["items"].data
    numbers = np.arange(1, items.count + 1)
    for half_life in range(HALF_LIVES):
        counts = sums[1 : items.count + 1, half_life]
        best = numbers[np.lexsort((numbers, -counts))[:TOP_ITEMS]]
        best = best[sums[best, half_life] > 0]
        top[half_life, : len(best)] = best
        scalars[TOP_SIZES + half_life] = len(best)
        records["listed"][best] |= np.arange(1, len(best) + 1).astype(np.uint64) << np.uint64(8 * half_life)
    newest = numbers[np.lexsort((numbers, records["first_seconds"][numbers]))][-TOP_WIDTH:]
    top[NEWEST, : len(newest)] = newest
    scalars[NEWEST_WRITTEN] = len(newest)


def _merge_weights(tables: Tables, parts: Sequence[_Part], items: _Union) -> None:
    updates = np.array([part.scalars[UPDATES] for part in parts])
    shares = updates / updates.sum() if updates.sum() > 0 else np.full(len(parts), 1 / len(parts))
    for share, part in zip(shares, parts, strict=True):
        tables["linear"].data[:] += np.float32(share) * part.linear
        tables["network"].data[:] += np.float32(share) * part.network
        tables["challenger"].data[:] += share * part.challenger
    vectors = tables["vectors"].data
    total = np.zeros(items.count + 1)
    for shard, part in enumerate(parts):
        count = part.sums[items.live[shard], COUNT] + 1e-6
        _add_vectors(*part.vectors, items.live[shard], items.targets(shard), count, vectors)
        total[items.targets(shard)] += count
    vectors[1 : items.count + 1] /= np.maximum(total[1:, None], 1e-30).astype(np.float32)


@kernel
def _add_vectors(data: NDArray, index: Rows, live: Rows, targets: Rows, counts: NDArray, out: NDArray) -> None:
    """Add a shard's vectors, each as often as its item was had."""
    for number in range(live.size):
        row = index[live[number]]
        for place in range(out.shape[1]):
            out[targets[number], place] += np.float32(counts[number] * data[row, place])


@compiled
def _take_seen(out: NDArray, seen: NDArray) -> None:
    """Write what visitors had into sets of another size, oldest first."""
    for row in range(seen.shape[0]):
        for way in range(SEEN_WAYS - 1, -1, -1):
            pair = seen[row, way]
            if pair == 0:
                continue
            ways = out[np.int64(pair % np.uint64(out.shape[0]))]
            for later in range(SEEN_WAYS - 1, 0, -1):
                ways[later] = ways[later - 1]
            ways[0] = pair
