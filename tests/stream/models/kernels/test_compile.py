"""Packed arrays are what they say, and the parts of Numba that they are built from are where they were."""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import pytest
from numba import typeof
from numba.core import cgutils, imputils
from numba.core.cpu import CPUTargetOptions
from numba.core.typing import templates
from numba.np import arrayobj

from stream.models.kernels.compile import kernel, packed, padded


class Fields(NamedTuple):
    first: np.ndarray
    second: np.ndarray


@kernel
def sum_of_both(fields):
    total = 0.0
    for at in range(fields.first.size):
        total += fields.first[at] + fields.second[at, 1] + fields.extra[at]
    fields.first[0] = 9
    return total


@kernel
def sum_of_seconds(fields):
    total = 0.0
    for at in range(len(fields.second)):
        total += fields.second[at, 1]
    return total


def test_a_kernel_reads_and_writes_packed_arrays_in_place():
    fields = Fields(np.array([1, 2]), np.array([[0.0, 0.5], [0.0, 0.25]]))
    more = {"extra": np.array([10, 20], np.uint8)}
    assert sum_of_both(packed(fields, more)) == 33.75
    assert fields.first.tolist() == [9, 2]


def test_packed_arrays_say_that_they_are_no_tuple():
    fields = packed(Fields(np.array([1, 2]), np.zeros(2)))
    assert fields.first.tolist() == [1, 2]
    with pytest.raises(AttributeError, match=r"no array '_replace' is packed here, .*there are first, second$"):
        fields._replace(first=np.zeros(1))
    with pytest.raises(TypeError):
        fields[0]


@pytest.mark.parametrize("change", ["read-only", "empty"])
def test_arrays_that_no_one_may_write_and_arrays_without_elements_are_packed(change):
    first, second = np.array([7.0, 2.0]), np.array([[0.0, 0.5], [0.0, 0.25]])
    if change == "empty":
        first = first[:0]
    second.flags.writeable = change == "empty"
    assert sum_of_seconds(packed(Fields(first, second))) == 0.75


def test_arrays_of_the_same_types_share_their_packed_type():
    one, other = (packed(Fields(np.zeros(size), np.zeros((size, 2)))) for size in (2, 5))
    different = packed(Fields(np.zeros(2, np.float32), np.zeros((2, 2))))
    assert typeof(one) is typeof(other)
    assert typeof(one) is not typeof(different)


def test_arrays_that_are_not_contiguous_are_refused():
    with pytest.raises(ValueError, match=r"Fields\.second is not contiguous"):
        packed(Fields(np.zeros(2), np.zeros((4, 4))[:, 1]))


@pytest.mark.parametrize(("count", "multiple"), [(0, 0), (1, 64), (64, 64), (65, 128)])
def test_lengths_are_padded_to_whole_vectors(count, multiple):
    assert padded(count) == multiple


CANARIES = [
    (CPUTargetOptions, "_nrt", "compiles without reference counting (`kernel`)"),
    (CPUTargetOptions, "forceinline", "puts a function into its callers (`inlined`)"),
    (imputils, "lower_getattr_generic", "lets a kernel read a field of packed arrays"),
    (imputils, "impl_ret_borrowed", "returns such a field without counting a reference"),
    (templates, "infer_getattr", "types such a field"),
    (arrayobj, "make_array", "builds such a field's array"),
    (cgutils.DataStructProxy, "_getvalue", "gives the built array"),
    (arrayobj, "populate_array", "fills in such a field's address and shape"),
]


@pytest.mark.parametrize(("owner", "name", "purpose"), CANARIES, ids=[name for _, name, _ in CANARIES])
def test_the_private_parts_of_numba_are_where_they_were(owner, name, purpose):
    assert hasattr(owner, name), (
        f"Numba {nb.__version__} has no {owner.__name__}.{name}, which {purpose}; look at "
        f"stream/models/kernels/compile.py, and in Numba at {owner.__module__}"
    )
