"""Every resident version reads its own tables while others come and go; rows that no version needs are freed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.memory.arena import Arena
from serving.memory.pages import allocate_large_pages
from serving.memory.table_arena import RESERVED_PER_ROW
from stream.state.table_writer import put_all
from stream.state.tables import CorruptDelta, Tables, TableSpec

SPECS = [
    TableSpec("pairs", 30, np.dtype([("x", "<f4", (8,))]), 16),
    TableSpec("items", 12, np.dtype(("<u8", (4,))), 16),
    TableSpec("scalars", 1, np.dtype(("<f8", (8,))), 64),
]


ALL_BITS = 0x9E3779B97F4A7C15
"""A value that only an integer of 64 bits can hold."""


def read(views, name):
    """A version's table as one array, row by row through its index."""
    data, index = views[name]
    return data[index]


def same(views, tables):
    return all(np.array_equal(read(views, name), table.data) for name, table in tables.items())


def write(tables, rows, value):
    """Some blocks of some rows; returns what was written."""
    for row in rows:
        tables["pairs"].data["x"][row % 30, row % 8] = value
        tables["pairs"].dirty[row % 30 * 2 + row % 8 // 4] = 1
        if row % 3 == 0:
            half = row // 12 % 2
            tables["items"].data[row % 12, 2 * half : 2 * half + 2] = value * ALL_BITS % 2**64
            tables["items"].dirty[row % 12 * 2 + half] = 1
    if rows:
        tables["scalars"].data[0, 3] = value
        tables["scalars"].mark_rows([0])
    return tables.checkpoint()


def pieces(*deltas, breaks=False):
    """A reader that writes these deltas, given newest first, in another order."""

    def read(into):
        put_all(into, deltas[: len(deltas) // 2])  # a first attempt that was interrupted; `begin` starts again
        into.begin()
        for age in sorted(range(len(deltas)), key=lambda age: -age % 3):
            into.put(age, deltas[age])
        if breaks:
            raise ConnectionError

    return read


def copied(tables):
    copy = Tables(SPECS)
    copy.write(tables.snapshot())
    return copy


def rows_in_use(residents):
    """Different copies of rows that these versions have, by table."""
    rows = {spec.name: 0 for spec in SPECS}
    for name in rows:
        rows[name] = len({int(row) for views in residents for row in views[name][1] if row})
    return rows


WRITES = st.lists(st.lists(st.integers(0, 239), max_size=30), max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.integers(0, 99), st.lists(st.integers(0, 239), max_size=12)),
        st.tuples(st.just("load"), WRITES),
        st.tuples(st.just("load like"), st.integers(0, 99), WRITES),
        st.tuples(st.just("fail to load"), st.integers(0, 99), WRITES),
        st.tuples(st.just("drop"), st.integers(0, 99)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_views_of_every_resident_version_equal_its_own_tables(steps):
    arena = Arena(SPECS)
    resident = [(arena.load(pieces()), Tables(SPECS))]
    for number, step in enumerate(steps, start=1):
        match step:
            case ("apply", which, rows):
                base, tables = resident[which % len(resident)]
                tables = copied(tables)
                resident.append((arena.apply(base, write(tables, rows, number)), tables))
                del base
            case ("load", writes):
                tables = Tables(SPECS)
                deltas = [write(tables, rows, number + nth) for nth, rows in enumerate(writes)]
                resident.append((arena.load(pieces(*reversed(deltas))), tables))
            case ("load like", which, writes):
                tables = Tables(SPECS)
                deltas = [write(tables, rows, (number + nth) % 3) for nth, rows in enumerate(writes)]  # some are zeros
                resident.append((arena.load(pieces(*reversed(deltas)), resident[which % len(resident)][0]), tables))
            case ("fail to load", which, writes):
                deltas = [write(Tables(SPECS), rows, number) for rows in writes]
                with pytest.raises(ConnectionError):
                    arena.load(pieces(*deltas, breaks=True), resident[which % len(resident)][0])
            case ("drop", which) if len(resident) > 1:
                del resident[which % len(resident)]
        assert all(same(views, tables) for views, tables in resident)
    in_use = rows_in_use([views for views, _ in resident])
    assert {name: usage.rows for name, usage in arena.usage().items()} == in_use


def test_blocks_of_tables_that_no_reader_needs_are_left_out_and_those_of_unknown_ones_refused():
    arena, tables = Arena(SPECS[:2], without=["scalars"]), Tables(SPECS)
    first = arena.load(pieces(write(tables, range(60), 1)))
    changes = write(tables, [3], 2)
    assert "scalars" in changes
    second = arena.apply(first, changes)
    assert set(second) == set(arena.usage()) == {"pairs", "items"}
    assert all(np.array_equal(read(second, name), tables[name].data) for name in second)
    arena = Arena(SPECS[:1], without=["scalars"])
    for attempt in (lambda: arena.load(pieces(changes)), lambda: arena.apply({}, changes)):
        with pytest.raises(CorruptDelta, match="'items'"):
            attempt()


def test_the_arena_stays_small_when_versions_pass_through():
    arena, tables = Arena(SPECS), Tables(SPECS)
    views = arena.load(pieces(write(tables, range(60), 1)))
    for number in range(500):
        views = arena.apply(views, write(tables, [number, number * 7], number))
        assert same(views, tables)
    assert arena.usage()["pairs"].rows == 30
    assert len(views["pairs"][0]) == RESERVED_PER_ROW * 30 + 1, "it never had to grow"


def test_views_that_readers_hold_stay_valid_when_the_arena_grows():
    arena, tables = Arena(SPECS), Tables(SPECS)
    held = [(arena.load(pieces(write(tables, range(60), 1))), copied(tables))]
    for number in range(2, 12):
        views = arena.apply(held[-1][0], write(tables, range(60), number))
        held.append((views, copied(tables)))
    assert len({len(views["pairs"][0]) for views, _ in held}) > 1, "it has grown"
    assert all(same(views, tables) for views, tables in held)


def test_a_state_that_is_loaded_whole_takes_memory_for_its_differences():
    arena, tables = Arena(SPECS), Tables(SPECS)
    older = write(tables, range(60), 1) and tables.snapshot()
    newer = arena.load(pieces(write(tables, [4], 2) and tables.snapshot()))
    before = {name: usage.rows for name, usage in arena.usage().items()}
    views = arena.load(pieces(older), newer)
    after = {name: usage.rows for name, usage in arena.usage().items()}
    assert {name: after[name] - before[name] for name in after} == {"pairs": 1, "items": 0, "scalars": 1}
    of_older = Tables(SPECS)
    of_older.write(older)
    assert same(views, of_older)
    assert same(newer, tables)


def test_blocks_that_a_newer_version_added_to_a_row_are_not_in_the_older_one():
    arena, tables = Arena(SPECS), Tables(SPECS)
    older = write(tables, [3, 9], 5)
    of_older = copied(tables)
    newer = arena.load(pieces(write(tables, [15, 21], 7) and tables.snapshot()))
    assert (read(newer, "items")[[3, 9]] != 0).all()
    views = arena.load(pieces(older), newer)
    assert same(views, of_older)
    assert same(newer, tables)


def test_a_version_takes_memory_for_the_rows_that_it_changed():
    arena, tables = Arena(SPECS), Tables(SPECS)
    first = arena.load(pieces(write(tables, range(60), 1)))
    before = {name: usage.rows for name, usage in arena.usage().items()}
    second = arena.apply(first, write(tables, [4], 2))
    after = {name: usage.rows for name, usage in arena.usage().items()}
    assert {name: after[name] - before[name] for name in after} == {"pairs": 1, "items": 0, "scalars": 1}
    assert first["items"][1] is second["items"][1], "an index that did not change is shared"
    del first
    assert {name: usage.rows for name, usage in arena.usage().items()} == before


def test_a_version_in_use_keeps_its_rows_after_all_others_were_released():
    """Rows that a request in flight reads are not overwritten, even if its version is the oldest of all."""
    arena, tables = Arena(SPECS), Tables(SPECS)
    in_flight = arena.load(pieces(write(tables, range(60), 1)))
    expected = copied(tables)
    views = in_flight
    for number in range(2, 200):
        views = arena.apply(views, write(tables, range(60), number))
    assert same(in_flight, expected)
    assert same(views, tables)


def test_readers_beside_a_writer_never_see_a_row_change():
    arena, tables = Arena(SPECS), Tables(SPECS)
    served = [arena.load(pieces(write(tables, range(60), 1)))]
    done = threading.Event()
    torn = []

    def keep_reading():
        while not done.is_set():
            views = served[0]
            value = read(views, "scalars")[0, 3]
            pairs = read(views, "pairs")["x"]
            if set(np.unique(pairs)) - {0.0, value}:
                torn.append(value)

    readers = [threading.Thread(target=keep_reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(2, 800):
        served[0] = arena.apply(served[0], write(tables, range(240), number))
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_memory_is_committed_for_written_rows_not_for_reserved_ones():
    spec = TableSpec("wide", 50_000_000, np.dtype(("<f8", (8,))), 64)
    taken = []

    def allocate(name, nbytes):
        taken.append((name, nbytes))
        return np.zeros(nbytes, np.uint8)

    arena = Arena([spec], allocate=allocate)
    assert taken[0][0] == "wide"
    assert taken[0][1] > 12_800_000_000, "address space for four versions that have no row in common"
    assert arena.usage()["wide"].nbytes == 0


def test_a_delta_of_other_tables_is_refused_and_changes_nothing():
    arena, tables = Arena(SPECS), Tables(SPECS)
    views = arena.load(pieces(write(tables, range(60), 1)))
    other = Tables([TableSpec("strange", 4, np.dtype(("<f8", (2,))), 16)])
    other["strange"].mark_rows([1])
    with pytest.raises(CorruptDelta, match="strange"):
        arena.apply(views, other.checkpoint())
    larger = Tables([TableSpec("pairs", 90, np.dtype([("x", "<f4", (8,))]), 16)])
    larger["pairs"].mark_rows([80])
    with pytest.raises(CorruptDelta, match="capacity settings"):
        arena.apply(views, larger.checkpoint())
    assert same(views, tables)
    assert arena.usage()["pairs"].rows == 30


def test_large_pages_change_no_value_that_is_read():
    specs = [TableSpec("wide", 100_000, np.dtype(("<u8", (8,))), 64)]
    arena, tables = Arena(specs, allocate=allocate_large_pages), Tables(specs)
    rows = np.arange(1, 60_000)
    tables["wide"].data[rows] = rows[:, None]
    tables["wide"].mark_rows(rows)
    first = arena.load(pieces(tables.checkpoint()))
    tables["wide"].data[rows[::2]] += 7
    second = arena.load(pieces(tables.snapshot()), first)
    tables["wide"].data[5] = 9
    tables["wide"].mark_rows([5])
    third = arena.apply(second, {"wide": tables["wide"].checkpoint()})
    assert same(third, tables)
    assert int(read(second, "wide")[5, 0]) == 12
    assert np.array_equal(read(first, "wide")[rows, 0], rows)
    assert arena.usage()["wide"].rows == len(rows) + len(rows[::2]) + 1
