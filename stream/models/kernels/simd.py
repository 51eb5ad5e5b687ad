"""SIMD: four operations of an answer's inner loops, written as vector instructions for any processor.

Numba leaves it to the compiler to find loops that can be vectored, and the compiler finds most (`compile.vectored`). It
does not find these four, or only with more bookkeeping than work for the hundred candidates of an answer. Lengths are
multiples of `LANES`; LLVM splits vectors of that many elements into those that the processor has.

This file decides which vector instructions count (`count_above`, `count_from`), multiply (`product`) and add up
(`combine`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from stream.models.kernels.compile import LANES, inlined

FLOAT = ir.FloatType()
LONG = ir.IntType(64)


def _vector(builder: Any, pointer: Any, at: Any, lanes: int) -> Any:
    """Load `lanes` numbers from `at` on, from any alignment."""
    kind = ir.VectorType(FLOAT, lanes)
    place = builder.bitcast(builder.gep(pointer, [at]), kind.as_pointer())
    return builder.load(place, align=4)


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    """A vector with one number in every lane."""
    empty = ir.Constant(ir.VectorType(FLOAT, lanes), ir.Undefined)
    one = builder.insert_element(empty, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def _counting(comparison: str) -> Any:
    """An intrinsic that counts in how many of `LANES` values a comparison with one value holds."""

    def typed(typing_context: Any, values: Any, at: Any, value: Any) -> Any:  # noqa: ARG001  Numba's signature
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            held = make_array(signature.args[0])(context, builder, arguments[0])
            lanes = _vector(builder, held.data, arguments[1], LANES)
            found = builder.fcmp_ordered(comparison, lanes, _spread(builder, arguments[2], LANES))
            return builder.ctpop(builder.bitcast(found, LONG))

        return types.int64(values, types.int64, types.float32), generate

    return intrinsic(typed)


_above = _counting(">")
_from = _counting(">=")


@inlined
def count_above(values, value):
    """The number of values that are larger than `value`."""
    count = 0
    for at in range(0, values.size, LANES):
        count += _above(values, at, value)
    return count


@inlined
def count_from(values, value):
    """The number of values that are not smaller than `value`."""
    count = 0
    for at in range(0, values.size, LANES):
        count += _from(values, at, value)
    return count


@intrinsic
def product(typing_context: Any, one: Any, first: Any, other: Any, second: Any, lanes: Any) -> Any:  # noqa: ARG001  Numba's signature
    """The dot product of `lanes` numbers of one array from `first` on and of another from `second` on.

    `lanes` is a constant and a power of two.
    """
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    size = lanes.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left = make_array(signature.args[0])(context, builder, arguments[0])
        right = make_array(signature.args[2])(context, builder, arguments[2])
        products = builder.fmul(
            _vector(builder, left.data, arguments[1], size), _vector(builder, right.data, arguments[3], size)
        )
        while size_of(products) > 1:
            half = size_of(products) // 2
            empty = ir.Constant(products.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(
                    products, empty, ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(start, start + half)))
                )
                for start in (0, half)
            )
            products = builder.fadd(low, high)
        return builder.extract_element(products, ir.IntType(32)(0))

    return types.float32(one, types.int64, other, types.int64, lanes), generate


def size_of(vector: Any) -> int:
    """Lanes of a vector."""
    return int(vector.type.count)


@intrinsic
def combine(
    typing_context: Any,  # noqa: ARG001  Numba's signature, as in the next lines
    rows: Any,
    wide: Any,  # noqa: ARG001
    at: Any,  # noqa: ARG001
    weights: Any,
    count: Any,
    start: Any,  # noqa: ARG001
    out: Any,
) -> Any:
    """`out[at : at + LANES] = start + Σ weights[r] · rows[r, at : at + LANES]` over the first `count` rows.

    The sums stay in registers from the first row to the last.

    Args:
        typing_context: given by Numba.
        rows: (any, wide) float32.
        wide: numbers in a row of `rows`.
        at: first column, a multiple of `LANES`.
        weights: (at least count) float32.
        count: number of rows, a constant.
        start: the number that each sum starts from.
        out: (at least at + LANES) float32.
    """
    if not isinstance(count, types.IntegerLiteral):
        return None
    number = count.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = make_array(signature.args[0])(context, builder, arguments[0])
        factors = make_array(signature.args[3])(context, builder, arguments[3])
        target = make_array(signature.args[6])(context, builder, arguments[6])
        width, place = arguments[1], arguments[2]
        total = _spread(builder, arguments[5], LANES)
        for row in range(number):
            values = _vector(builder, held.data, builder.add(builder.mul(width, LONG(row)), place), LANES)
            factor = builder.load(builder.gep(factors.data, [LONG(row)]))
            added = builder.fmul(values, _spread(builder, factor, LANES), flags=("contract",))
            total = builder.fadd(total, added, flags=("contract",))
        kind = ir.VectorType(FLOAT, LANES).as_pointer()
        builder.store(total, builder.bitcast(builder.gep(target.data, [place]), kind), align=4)
        return context.get_dummy_value()

    arguments = (rows, types.int64, types.int64, weights, count, types.float32, out)
    return types.void(*arguments), generate
