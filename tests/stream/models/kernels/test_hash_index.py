"""Keys are found by open addressing, also if they collide, were replaced, or the cells were rebuilt."""

from __future__ import annotations

import numpy as np

from stream.models.kernels.hash_index import (
    cells_for,
    enter,
    enter_word,
    find,
    find_word,
    rebuild,
    rebuild_words,
    remove,
    remove_word,
)
from stream.models.kernels.key_hints import KeyHints

RECORD = np.dtype([("key0", "<u8"), ("key1", "<u8")])


def records(keys):
    rows = np.zeros(len(keys) + 1, RECORD)
    rows["key0"][1:] = keys
    rows["key1"][1:] = 5
    return rows


def test_colliding_keys_are_found_and_unknown_ones_are_not():
    rows = records([64 * number + 3 for number in range(1, 20)])  # all begin at the same cell
    cells, used = cells_for(20), np.zeros(2, np.int64)
    for row in range(1, 20):
        enter(cells, used, 1, rows, row)
        enter(cells, used, 1, rows, row)
    assert used.tolist() == [0, 19]
    assert [find(cells, rows, key, np.uint64(5)) for key in rows["key0"][1:]] == list(range(1, 20))
    assert find(cells, rows, rows["key0"][7], np.uint64(6)) == 0
    assert find(cells, rows, np.uint64(3), np.uint64(5)) == 0


def test_a_row_with_another_key_is_found_by_that_key_only_and_cells_never_fill_up():
    rows = records(range(1, 21))
    cells, used = cells_for(20), np.zeros(1, np.int64)
    used[0] = rebuild(cells, rows)
    assert used[0] == 20
    for key in range(100, 600):
        row = 1 + key % 20
        old = rows["key0"][row]
        rows["key0"][row] = key
        enter(cells, used, 0, rows, row)
        assert find(cells, rows, np.uint64(key), np.uint64(5)) == row
        assert find(cells, rows, old, np.uint64(5)) == 0
        assert np.count_nonzero(cells) == used[0] <= 0.6 * cells.size + 1


def test_keys_that_are_removed_free_their_cells_and_hide_no_other_key():
    print("seed 7")
    draw = np.random.default_rng(7)
    rows = records([0] * 40)
    rows["key1"][:] = 0
    cells, used = cells_for(40), np.zeros(1, np.int64)
    known: dict[int, int] = {}
    for _ in range(4000):
        row = int(draw.integers(1, 41))
        if row in known:
            remove(cells, used, 0, rows, row)
            rows[row] = (0, 0)
            del known[row]
        else:
            key = int(draw.integers(1, 2**20)) << 3  # many of them begin at the same few cells
            rows[row] = (key, 5)
            enter(cells, used, 0, rows, row)
            known[row] = key
        assert used[0] == np.count_nonzero(cells) == len(known)
        assert [find(cells, rows, np.uint64(key), np.uint64(5)) for key in known.values()] == list(known)


def test_words_that_are_removed_before_they_are_overwritten_need_no_new_cells():
    ring = np.zeros(16, np.uint64)
    cells, used = cells_for(16), np.zeros(1, np.int64)
    for number in range(500):
        if ring[number % 16]:
            remove_word(cells, used, 0, ring, number % 16)
        ring[number % 16] = 1000 + 64 * number
        enter_word(cells, used, 0, ring, number % 16)
        assert used[0] == np.count_nonzero(cells) == min(16, number + 1)
    known = [number for number in range(500) if find_word(cells, ring, np.uint64(1000 + 64 * number))]
    assert known == list(range(484, 500))


def test_words_of_a_ring_are_found_until_they_are_overwritten():
    ring = np.zeros(16, np.uint64)
    cells, used = cells_for(16), np.zeros(1, np.int64)
    for number in range(500):
        ring[number % 16] = 1000 + 64 * number
        enter_word(cells, used, 0, ring, number % 16)
    known = [number for number in range(500) if find_word(cells, ring, np.uint64(1000 + 64 * number))]
    assert known == list(range(484, 500))
    assert rebuild_words(cells, ring) == 16
    assert find_word(cells, ring, ring[0])


def test_hints_find_the_row_of_each_version_and_grow():
    one = records(range(1, 41))
    other = one.copy()
    other["key0"][7] = 2**40 + 7
    index = np.arange(41, dtype=np.int32)
    hints = KeyHints(one, index)
    hints.add(other, index, np.array([7]))
    assert hints.find(one, index, np.array([7, 5], np.uint64)) == 7
    assert hints.find(other, index, np.array([7, 5], np.uint64)) == 0
    assert hints.find(other, index, np.array([2**40 + 7, 5], np.uint64)) == 7
    assert hints.find(one, index, np.array([2**40 + 7, 5], np.uint64)) == 0
    size = hints.cells.size
    for round_ in range(1, 60):
        other["key0"][1:] = np.arange(1, 41) + 1000 * round_
        hints.add(other, index, np.arange(1, 41))
    assert size < hints.cells.size <= 16 * 64
    assert [hints.find(other, index, np.array([key, 5], np.uint64)) for key in other["key0"][1:]] == list(range(1, 41))
