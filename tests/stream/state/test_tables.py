"""Deltas carry exactly the blocks that were written, through checkpoints, folding, encoding and applying."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.state.codec import decode_delta, encode_delta
from stream.state.marks import take_blocks
from stream.state.table_writer import TableWriter, put_all
from stream.state.tables import (
    CACHE_LINE,
    CorruptDelta,
    Tables,
    TableSpec,
    aligned_zeros,
    delta_bytes,
    differing_tables,
    fold,
)

SPECS = [
    TableSpec("slots", 9, np.dtype([("item", "<u4", (8,)), ("count", "<f4", (8,))]), 16),
    TableSpec("sums", 5, np.dtype(("<f8", (4,))), 32),
]

for kind in (np.uint32, np.uint64):  # compiled now, not within the time that Hypothesis gives an example
    take_blocks(np.zeros(8, np.uint8), np.zeros((8, 2), kind), 0, 8, False)

WRITES = st.lists(st.tuples(st.sampled_from(["slots", "sums"]), st.integers(0, 44), st.integers(0, 3)), max_size=12)


def write(tables, writes):
    """Whole rows set to a value; 0 is a value too."""
    for name, row, value in writes:
        row %= tables[name].spec.rows
        tables[name].raw().reshape(tables[name].spec.rows, -1)[row] = value
        tables[name].mark_rows([row])


@given(rounds=st.lists(WRITES, max_size=6))
def test_checkpoints_in_order_give_the_tables(rounds):
    ours, theirs = Tables(SPECS), Tables(SPECS)
    for writes in rounds:
        write(ours, writes)
        theirs.write(ours.checkpoint())
        assert theirs == ours
    assert ours.checkpoint() == {}


@given(rounds=st.lists(WRITES, max_size=6), later=WRITES)
def test_a_keyframe_gives_the_tables_and_leaves_the_marks(rounds, later):
    ours, theirs = Tables(SPECS), Tables(SPECS)
    for writes in rounds:
        write(ours, writes)
    before = ours.checkpoint()
    write(ours, later)
    theirs.write(ours.snapshot())
    assert theirs == ours
    again = Tables(SPECS)
    again.write(before)
    again.write(ours.checkpoint())
    assert again == ours


@settings(deadline=None)  # a kernel is compiled first
@given(rounds=st.lists(WRITES, min_size=2, max_size=6), planes=st.booleans())
def test_folded_and_encoded_deltas_do_what_they_did_one_by_one(rounds, planes):
    ours, theirs = Tables(SPECS), Tables(SPECS)
    folded = {}
    for writes in rounds:
        write(ours, writes)
        folded = fold(folded, decode_delta(encode_delta(ours.checkpoint(), planes=planes)))
    theirs.write(decode_delta(encode_delta(folded, planes=planes)))
    assert theirs == ours
    for part in folded.values():
        assert np.all(np.diff(part.blocks.astype(np.int64)) > 0), "blocks rise and are unique"


@given(
    size=st.integers(1, 700), marked=st.sets(st.integers(0, 699)), start=st.integers(0, 699), most=st.integers(0, 90)
)
def test_marks_are_found_in_order_and_cleared(size, marked, start, most):
    dirty = np.zeros(size, np.uint8)
    raw = np.arange(2 * size, dtype=np.uint64).reshape(size, 2)
    marked = sorted(block for block in marked if block < size)
    dirty[marked] = 1
    wanted = [block for block in marked if block >= start]
    blocks, data, stopped_at = take_blocks(dirty, raw, start, most, False)
    assert blocks.tolist() == wanted[:most]
    assert data.tolist() == raw[blocks].tolist()
    assert np.flatnonzero(dirty).tolist() == [block for block in marked if block < start] + wanted[most:]
    assert not [block for block in wanted[most:] if block < stopped_at]


@given(writes=st.lists(st.tuples(WRITES, st.integers(1, 12)), min_size=1, max_size=8))
def test_parts_taken_while_writing_goes_on_are_one_checkpoint(writes):
    ours, theirs = Tables(SPECS), Tables(SPECS)
    folded = {}
    for some, most in writes:
        write(ours, some)
        part, _ = ours.next_part(most)
        assert sum(len(part.blocks) for part in part.values()) <= most
        assert all(np.all(np.diff(part.blocks.astype(np.int64)) > 0) for part in part.values())
        folded = fold(folded, part)
    for _ in range(1000):
        part, done = ours.next_part(5)
        folded = fold(folded, part)
        if done:
            break
    theirs.write(folded)
    assert done
    assert theirs == ours
    assert ours.checkpoint() == {}


def test_tables_that_differ_are_named():
    ours, theirs = Tables(SPECS), Tables(SPECS)
    write(ours, [("sums", 1, 3)])
    assert list(differing_tables(ours, theirs)) == ["sums"]
    assert list(differing_tables(ours, Tables(SPECS[:1]))) == ["sums"]
    assert ours != theirs


def test_an_empty_table_costs_nothing():
    assert delta_bytes(Tables(SPECS).snapshot()) == 0


def test_a_delta_of_other_tables_is_refused():
    other = Tables([TableSpec("slots", 90, SPECS[0].dtype, 16)])
    write(other, [("slots", 80, 1)])
    with pytest.raises(CorruptDelta, match="other capacity settings"):
        Tables(SPECS).write(other.checkpoint())
    strange = Tables([TableSpec("strange", 2, SPECS[1].dtype, 32)])
    write(strange, [("strange", 1, 1)])
    with pytest.raises(CorruptDelta, match=r"'strange'.*slots, sums"):
        Tables(SPECS).write(strange.checkpoint())
    for nonsense in (b"", b"nonsense", encode_delta({})[:3]):
        with pytest.raises(CorruptDelta, match="no encoded delta"):
            decode_delta(nonsense)


@pytest.mark.parametrize("block_bytes", [0, 6, 24, -16])
def test_a_row_is_a_whole_number_of_blocks(block_bytes):
    with pytest.raises(ValueError, match=r"table 'sums'.*whole number of blocks"):
        TableSpec("sums", 5, np.dtype(("<f8", (4,))), block_bytes)


@pytest.mark.parametrize("dtype", ["<u8", ("<f4", (4,)), [("n", "<u4"), ("x", "<f4", (3,))]])
@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_table_is_zeros_that_begin_with_a_cache_line(rows, dtype):
    plain = np.zeros(rows, dtype)
    aligned = aligned_zeros(rows, np.dtype(dtype))
    assert aligned.dtype == plain.dtype
    assert aligned.tobytes() == plain.tobytes()
    assert aligned.shape == plain.shape
    assert aligned.ctypes.data % CACHE_LINE == 0


@settings(deadline=None)  # a kernel is compiled first
@given(
    rounds=st.lists(WRITES, max_size=6),
    interrupted=st.lists(WRITES, max_size=3),
    random=st.randoms(use_true_random=False),
)
def test_parts_in_any_order_give_the_state_even_after_an_interrupted_attempt(rounds, interrupted, random):
    expected, tables = Tables(SPECS), Tables(SPECS)
    checkpoints = []
    for writes in rounds:
        write(expected, writes)
        checkpoints.append(expected.checkpoint())
    writer = TableWriter(tables)
    others = Tables(SPECS)
    put_all(writer, [write(others, writes) or others.checkpoint() for writes in interrupted])
    writer.begin()
    parts = list(enumerate(reversed(checkpoints)))
    random.shuffle(parts)
    for age, part in parts:
        writer.put(age, part)
    assert tables == expected
    assert all(not table.dirty.any() for table in tables.values())
