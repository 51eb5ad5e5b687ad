"""Hints of every version that is in use stay, however many keys come after it."""

from __future__ import annotations

import random

import numpy as np

from stream.models.kernels.key_hints import MAX_CELLS_PER_ROW, KeyHints

ROWS = 64
KEYS = np.dtype([("key0", "<u8"), ("key1", "<u8")])
SEED = 11


class Version:
    """A table in which every row has a key, as an index into records that all versions share."""

    def __init__(self, records: np.ndarray, index: np.ndarray) -> None:
        self.records = records
        self.index = index

    def finds_all(self, hints: KeyHints) -> bool:
        """True if the key of each row leads to that row."""
        held = self.records[self.index]
        key = np.zeros(2, np.uint64)
        for row in range(1, ROWS):
            key[:] = held[row]["key0"], held[row]["key1"]
            if hints.find(self.records, self.index, key) != row:
                return False
        return True


def test_a_version_in_use_keeps_its_hints_while_thousands_of_keys_come_and_go():
    chance = random.Random(SEED)
    records = np.zeros(20_000, KEYS)
    records["key0"] = np.arange(20_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    records["key1"] = np.arange(20_000)
    index = np.arange(ROWS, dtype=np.int32)
    current = Version(records, index)
    hints = KeyHints(records, index)
    kept = [current]
    sizes = set()
    for place in range(ROWS, 12_000, 4):
        rows = np.array(chance.sample(range(1, ROWS), 4))
        index = current.index.copy()
        index[rows] = np.arange(place, place + 4)
        before, current = current, Version(records, index)
        others = [(each.records, each.index) for each in (*kept, before)]
        hints.add(records, index, rows, lambda others=others: others)
        assert current.finds_all(hints), f"seed {SEED}"
        if place % 2400 == 0:
            kept.append(current)
        sizes.add(hints.cells.size)
    assert len(kept) >= 5
    for each in kept:
        assert each.finds_all(hints), f"seed {SEED}"
    assert max(sizes) <= 2 * MAX_CELLS_PER_ROW * ROWS, "evicted keys without a version take no room"
