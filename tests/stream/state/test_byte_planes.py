"""Transposed bytes equal NumPy's transposition, for every shape."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.state.byte_planes import transpose


@settings(deadline=None)  # a kernel is compiled first
@given(rows=st.integers(0, 40), columns=st.integers(0, 40), seed=st.integers(0, 9))
def test_rows_become_columns(rows, columns, seed):
    data = np.random.default_rng(seed).integers(0, 256, (rows, columns), np.uint8)
    around = np.full(rows * columns + 16, 7, np.uint8)
    out = around[8:-8].reshape(columns, rows)
    transpose(data, out)
    assert np.array_equal(out, data.T)
    assert set(around[:8]) == set(around[-8:]) == {7}, "and nothing beside them was written"
