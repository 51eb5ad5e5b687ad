"""Kernels: loops that allocate nothing, and sixty arrays as one argument of such a loop.

A kernel gets the tables as a `NamedTuple` of arrays that went through `packed`. To Python the result has the same
attributes. To a kernel it is one pointer to a block of addresses and shapes. A tuple of sixty arrays by value is some
five hundred machine words that every call would copy and every compilation would carry along, which made calls dozens
of times slower and compiling take minutes. The addresses never change while the object lives, and the compiler is
given that guarantee, so an inner loop loads them once.

Kernels are compiled without Numba's reference counting: they borrow arrays, pass them on and allocate none.

This file decides how a kernel is compiled (`kernel`, `inlined`, `vectored`) and how arrays reach it (`packed`).
Functions that allocate, and the rule for machine code on disk, are in `stream.state.compiled`.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import NativeValue, intrinsic, models, register_model, typeof_impl, unbox
from numba.np import numpy_support
from numba.np.arrayobj import make_array, populate_array

from stream.models.source_registry import source_files
from stream.state.compiled import compiled_with, include_sources

include_sources(source_files())  # kernels call sources of one's own, which live in other packages

LANES = 64
"""Elements that a `vectored` loop takes at a time; lengths of its arrays are multiples of it (see `padded`)."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that allocates nothing and returns no array. It releases Python's lock."""
    return compiled_with(function, nogil=True, _nrt=False)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a kernel of a few lines into each kernel that calls it, for code that a hot loop repeats."""
    return compiled_with(function, nogil=True, _nrt=False, forceinline=True)


def vectored(function: Callable[..., Any]) -> Any:
    """Compile a kernel with one loop over whole arrays that handles many elements at a time.

    Its sums may be taken in any order, and none of its numbers may be NaN. Lengths are multiples of `LANES` (see
    `padded`), because the compiler handles what is left of a vector element by element, which for a hundred candidates
    took longer than all the vectors. A loop within the loop is not vectored.
    """
    options = {"reassoc", "contract", "nnan", "nsz", "arcp"}
    return compiled_with(function, nogil=True, _nrt=False, fastmath=options)


@inlined
def padded(count: int) -> int:
    """Round a length up to the next multiple of `LANES`."""
    return (count + (LANES - 1)) & -LANES


@intrinsic
def prefetch(typing_context: Any, array: Any, row: Any) -> Any:  # noqa: ARG001  Numba's signature
    """Start to load the first 64 bytes of a row into the caches before they are needed.

    Rows of large tables come from main memory, which takes as long as a hundred additions. If they are requested in
    time, dozens of them arrive at once.
    """
    if not isinstance(array, types.Array) or not isinstance(row, types.Integer):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = make_array(signature.args[0])(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], signature.args[1], types.intp)
        step = builder.extract_value(held.strides, 0)
        byte = ir.IntType(8).as_pointer()
        address = builder.gep(builder.bitcast(held.data, byte), [builder.mul(place, step)])
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, number(0), number(3), number(1)])  # to read, into every cache, data
        return context.get_dummy_value()

    return types.void(array, row), generate


def _same_bits(source: types.Type, target: types.Type) -> Any:
    def typed(typing_context: Any, value: Any) -> Any:  # noqa: ARG001  Numba's signature
        if value != source:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001  Numba's signature
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), generate

    return intrinsic(typed)


bits_of = _same_bits(types.float32, types.int32)
"""The bits of a float32 as an int32. For numbers from 0 on, the bits are in the order of the numbers."""
float_of = _same_bits(types.int32, types.float32)
"""The float32 that has these bits."""


@inlined
def natural_log(value: np.float32) -> np.float32:
    """The logarithm of a positive float32, to about one unit in the last place, in a form that can be vectored.

    Cephes' `logf` (Moshier): the exponent is taken off, a polynomial around 1 gives the logarithm of the rest.
    """
    bits = bits_of(value)
    high = (bits & np.int32(0x7FFFFF)) > np.int32(0x3504F3)  # beyond the square root of 2
    exponent = np.float32(np.int32((bits >> np.int32(23)) - np.int32(127))) + (np.float32(1) if high else np.float32(0))
    rest = float_of(np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)))
    x = (rest * np.float32(0.5) if high else rest) - np.float32(1)
    y = np.float32(7.0376836292e-2)
    y = y * x + np.float32(-1.1514610310e-1)
    y = y * x + np.float32(1.1676998740e-1)
    y = y * x + np.float32(-1.2420140846e-1)
    y = y * x + np.float32(1.4249322787e-1)
    y = y * x + np.float32(-1.6668057665e-1)
    y = y * x + np.float32(2.0000714765e-1)
    y = y * x + np.float32(-2.4999993993e-1)
    y = y * x + np.float32(3.3333331174e-1)
    square = x * x
    y = y * x * square + exponent * np.float32(-2.12194440e-4) - np.float32(0.5) * square
    return x + y + exponent * np.float32(0.693359375)


Fields = TypeVar("Fields", bound=NamedTuple)


class Packed:
    """Arrays by name, and the block of addresses and shapes by which a kernel finds them. Made by `packed`."""

    def __init__(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        self.__dict__.update(arrays)
        words: list[int] = []
        kinds: list[Any] = []
        for field, each in arrays.items():
            if not each.flags.c_contiguous:
                raise ValueError(f"{name}.{field} is not contiguous; kernels take whole arrays")
            kinds += (field, each.dtype, each.ndim)
            words.append(_address(each))
            words += each.shape
        self._block = np.array(words, np.int64)
        self.address = _address(self._block)
        self._numba_type_ = _packed_type((name, tuple(kinds)), arrays)

    def __getattr__(self, name: str) -> Any:
        there = ", ".join(
            field for field, value in vars(self).items() if isinstance(value, np.ndarray) and field[0] != "_"
        )
        raise AttributeError(f"no array {name!r} is packed here, and packed arrays are no tuple; there are {there}")

    def __reduce__(self) -> Any:
        raise TypeError("packed arrays are addresses in this process; pack the arrays again where they are needed")


def packed(fields: Fields, more: Mapping[str, np.ndarray] | None = None) -> Fields:
    """Pack arrays into one argument for kernels.

    The result is annotated as the `NamedTuple` that it was made of, because a kernel and its callers read fields by
    name, and a type checker then knows them. At run time it is a `Packed`: attributes are all that it has. It can't be
    unpacked, indexed, compared or changed with `_replace`. This cast is the only one of its kind.

    Args:
        fields: contiguous arrays. The result keeps them alive; none may be resized.
        more: further arrays by name, for kernels whose field names are made from settings.

    Raises:
        ValueError: an array is not contiguous.
    """
    return cast(Fields, Packed(type(fields).__name__, fields._asdict() | dict(more or {})))


class PackedType(types.Type):
    """Numba's type of packed arrays: field names with their array types and places in the block."""

    def __init__(self, name: str, fields: tuple[tuple[str, types.Array, int], ...]) -> None:
        self.fields = fields
        described = zlib.crc32(repr([(field, str(array), at) for field, array, at in fields]).encode())
        super().__init__(name=f"{name}{described:08x}")

    def field(self, name: str) -> tuple[types.Array, int] | None:
        """Type and place of a field, or None if there is no such field."""
        for field, array, at in self.fields:
            if field == name:
                return array, at
        return None


_types: dict[Any, PackedType] = {}


def _packed_type(kinds: tuple[str, Any], arrays: Mapping[str, np.ndarray]) -> PackedType:
    """The type of packed arrays: made once for each name with the names, types and dimensions of the arrays."""
    if (known := _types.get(kinds)) is not None:
        return known
    fields, at = [], 0
    for field, each in arrays.items():
        # Read-only arrays get the type of writable ones, so that read-only arenas need no kernels of their own.
        fields.append((field, types.Array(numpy_support.from_dtype(each.dtype), each.ndim, "C"), at))
        at += 1 + each.ndim
    return _types.setdefault(kinds, PackedType(kinds[0], tuple(fields)))


def _address(each: np.ndarray) -> int:
    """The address of an array's first element. `ctypes.data` takes four times as long, and batches have many arrays."""
    if each.size and each.flags.writeable:
        return ctypes.addressof(ctypes.c_char.from_buffer(each.data))
    return int(each.ctypes.data)


register_model(PackedType)(models.OpaqueModel)


@typeof_impl.register(Packed)
def _typeof_packed(value: Packed, _: Any) -> PackedType:
    return value._numba_type_


@unbox(PackedType)
def _unbox_packed(_: Any, value: Any, c: Any) -> NativeValue:
    address = c.pyapi.object_getattr_string(value, "address")
    pointer = c.builder.inttoptr(c.pyapi.number_as_ssize_t(address), ir.IntType(8).as_pointer())
    c.pyapi.decref(address)
    return NativeValue(pointer)


def packed_at(name: str) -> Any:
    """A function for kernels that takes an address (`packed(…).address`) and gives the arrays that are packed there.

    For kernels that Python calls for every request: Numba needs up to half a microsecond to find the type of one packed
    argument, and next to nothing for a number. The caller keeps the packed arrays alive during the call.

    Args:
        name: of the `NamedTuple` that was packed. All that are packed under it in a process have the same fields.
    """

    def typed(typing_context: Any, address: Any) -> Any:  # noqa: ARG001  Numba's signature
        layouts = {layout for (of, _), layout in _types.items() if of == name}
        if not isinstance(address, types.Integer) or len(layouts) != 1:
            raise TypingError(f"{len(layouts)} layouts of {name} are packed in this process; an address needs one")

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = context.cast(builder, arguments[0], signature.args[0], types.intp)
            return builder.inttoptr(place, ir.IntType(8).as_pointer())

        return layouts.pop()(address), generate

    return intrinsic(typed)


@infer_getattr
class _PackedAttributes(AttributeTemplate):
    key = PackedType

    def generic_resolve(self, typ: PackedType, attr: str) -> types.Array | None:
        found = typ.field(attr)
        return None if found is None else found[0]


@lower_getattr_generic(PackedType)
def _lower_field(context: Any, builder: Any, typ: PackedType, value: Any, attr: str) -> Any:
    found = typ.field(attr)
    assert found is not None
    array_type, at = found
    word = context.get_value_type(types.intp)
    words = builder.bitcast(value, word.as_pointer())
    unchanging = builder.module.add_metadata([])

    def load(place: int) -> Any:
        loaded = builder.load(cgutils.gep_inbounds(builder, words, place))
        loaded.set_metadata("invariant.load", unchanging)
        return loaded

    array = make_array(array_type)(context, builder)
    shape = [load(at + 1 + axis) for axis in range(array_type.ndim)]
    itemsize = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
    strides: list[Any] = []
    step = context.get_constant(types.intp, itemsize)
    for extent in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, extent)
    data = builder.inttoptr(load(at), context.get_data_type(array_type.dtype).as_pointer())
    populate_array(
        array,
        data=data,
        shape=shape,
        strides=strides,
        itemsize=context.get_constant(types.intp, itemsize),
        meminfo=None,
    )
    return impl_ret_borrowed(context, builder, array_type, array._getvalue())  # noqa: SLF001  as in Numba's extensions
