"""A vector type of sixteen numbers for Numba.

LLVM vectorises a loop over single numbers only if it can prove that this is safe, and such a loop takes twice as long
as one over these vectors. A value of the type `f32x16` is sixteen floats in the processor's vector registers (one with
AVX-512, two with AVX2, four with SSE or NEON: LLVM splits them). `u32x16` is sixteen unsigned integers. Arrays are
float32, or int16 with the bits of bf16. `load` and `store` convert; they round to nearest even. `load` also reads
int32.

Only code compiled by Numba can call these functions, not Python.
"""

import inspect
import operator
from collections.abc import Callable
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16
_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_INTS = ir.VectorType(ir.IntType(32), WIDTH)
_HALVES = ir.VectorType(ir.IntType(16), WIDTH)


class LanesType(types.Type):
    """The type of sixteen numbers.

    Args:
        name: `f32` or `u32`.
        llvm_type: the LLVM type.
    """

    def __init__(self, name: str, llvm_type: ir.VectorType) -> None:
        self.llvm_type = llvm_type
        super().__init__(f"{name}x{WIDTH}")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: LanesType) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm_type)


f32x16, u32x16 = LanesType("f32", _FLOATS), LanesType("u32", _INTS)


def _constant(value: float | int, like: ir.VectorType) -> ir.Constant:
    return ir.Constant(like, [value] * WIDTH)


def _splat(builder: Any, scalar: Any, like: ir.VectorType) -> Any:
    undefined = ir.Constant(like, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, _constant(0, _INTS))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, like: ir.Type) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), like.as_pointer())


def _widened(builder: Any, bits: Any) -> Any:
    """Convert the bits of bf16 values to floats."""
    return builder.bitcast(builder.shl(builder.zext(bits, _INTS), _constant(16, _INTS)), _FLOATS)


def _intrinsic(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make an intrinsic with fixed types from a function that maps (builder, values) to a value."""

    def make(emit: Callable[..., Any]) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(builder, *args)

        def typed(typingctx: Any, *argument_types: Any) -> Any:
            return result(*arguments), codegen

        # Numba reads the number of parameters from the signature.
        names = ["typingctx", *(f"x{index}" for index in range(len(arguments)))]
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        typed.__name__, typed.__doc__ = emit.__name__, emit.__doc__
        return intrinsic(typed)

    return make


@intrinsic
@no_type_check
def load(typingctx, array, index):
    """Read sixteen numbers of a one-dimensional array, starting at an index."""

    def codegen(context, builder, signature, args):
        if signature.args[0].dtype == types.float32:
            return builder.load(_pointer(context, builder, signature.args[0], *args, _FLOATS), align=4)
        if signature.args[0].dtype == types.int32:
            numbers = builder.load(_pointer(context, builder, signature.args[0], *args, _INTS), align=4)
            return builder.sitofp(numbers, _FLOATS)
        bits = builder.load(_pointer(context, builder, signature.args[0], *args, _HALVES), align=2)
        return _widened(builder, bits)

    return f32x16(array, types.intp), codegen


@intrinsic
@no_type_check
def store(typingctx, array, index, value):
    """Write sixteen numbers to a one-dimensional array, starting at an index."""

    def codegen(context, builder, signature, args):
        array_type, (array, at, value) = signature.args[0], args
        if array_type.dtype == types.float32:
            builder.store(value, _pointer(context, builder, array_type, array, at, _FLOATS), align=4)
            return context.get_dummy_value()
        # Round with integers: LLVM's truncation to bf16 aborts on processors without AVX512-BF16.
        bits = builder.bitcast(value, _INTS)
        odd = builder.and_(builder.lshr(bits, _constant(16, _INTS)), _constant(1, _INTS))
        rounded = builder.add(bits, builder.add(odd, _constant(0x7FFF, _INTS)))
        halves = builder.trunc(builder.lshr(rounded, _constant(16, _INTS)), _HALVES)
        builder.store(halves, _pointer(context, builder, array_type, array, at, _HALVES), align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, f32x16), codegen


@intrinsic
@no_type_check
def prefetch(typingctx, array, index):
    """Prefetch the memory at an index of an array; the index may be beyond the end of the array."""

    def codegen(context, builder, signature, args):
        number = ir.IntType(32)
        place = _pointer(context, builder, signature.args[0], *args, ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
@no_type_check
def spread(typingctx, array, index):
    """Return sixteen copies of the number at an index of a float32 array."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return _splat(builder, builder.load(builder.gep(data, [args[1]])), _FLOATS)

    return f32x16(array, types.intp), codegen


@intrinsic
@no_type_check
def transpose(typingctx, source, start, stride, target, at, width):
    """Write the transpose of a 16 x 16 block of an array; convert bf16 to floats if the target is float32.

    Row i is read at start + i * stride and becomes column i: its number j is written at `at` + j * width + i.
    """

    def codegen(context, builder, signature, args):
        source, start, stride, target, at, width = args
        read, written = signature.args[0], signature.args[3]

        def pointer(array_type, array, first, step, index, like):
            place = builder.add(first, builder.mul(step, ir.Constant(step.type, index)))
            return _pointer(context, builder, array_type, array, place, like)

        row_type, align = (_FLOATS, 4) if read.dtype == types.float32 else (_HALVES, 2)
        rows = [builder.load(pointer(read, source, start, stride, i, row_type), align=align) for i in range(WIDTH)]
        if read.dtype != written.dtype:
            row_type, align = _FLOATS, 4
            rows = [_widened(builder, row) for row in rows]
        # Swap the off-diagonal blocks of 8 x 8, then those of 4 x 4 in each, and so on.
        for size in (8, 4, 2, 1):
            upper = [lane if not lane & size else WIDTH + lane - size for lane in range(WIDTH)]
            lower = [lane + size if not lane & size else WIDTH + lane for lane in range(WIDTH)]
            for i in range(WIDTH):
                if not i & size:
                    a, b = rows[i], rows[i + size]
                    rows[i] = builder.shuffle_vector(a, b, ir.Constant(_INTS, upper))
                    rows[i + size] = builder.shuffle_vector(a, b, ir.Constant(_INTS, lower))
        for i in range(WIDTH):
            builder.store(rows[i], pointer(written, target, at, width, i, row_type), align=align)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), codegen


@_intrinsic(f32x16, types.float32)
def splat(builder: Any, value: Any) -> Any:
    """Return sixteen copies of a number."""
    return _splat(builder, value, _FLOATS)


@_intrinsic(f32x16, f32x16, f32x16, f32x16)
def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""
    function = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.v{WIDTH}f32"), [a, b, c])


@_intrinsic(f32x16, f32x16)
def square_root(builder: Any, a: Any) -> Any:
    """Return the square root of each number."""
    function = ir.FunctionType(_FLOATS, [_FLOATS])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.sqrt.v{WIDTH}f32"), [a])


@_intrinsic(f32x16, f32x16, f32x16)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """Return the element-wise maximum."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@_intrinsic(f32x16, f32x16, f32x16)
def smaller(builder: Any, a: Any, b: Any) -> Any:
    """Return the element-wise minimum."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@_intrinsic(f32x16, f32x16)
def absolute(builder: Any, a: Any) -> Any:
    """Return the absolute values."""
    return builder.bitcast(builder.and_(builder.bitcast(a, _INTS), _constant(0x7FFFFFFF, _INTS)), _FLOATS)


@_intrinsic(f32x16, f32x16, types.intp)
def first_numbers(builder: Any, a: Any, count: Any) -> Any:
    """Return the first `count` numbers of a, followed by -1e30."""
    lanes, count = ir.Constant(_INTS, list(range(WIDTH))), _splat(builder, builder.trunc(count, ir.IntType(32)), _INTS)
    return builder.select(builder.icmp_signed("<", lanes, count), a, _constant(-1e30, _FLOATS))


@_intrinsic(f32x16, f32x16, f32x16)
def with_sign_of(builder: Any, a: Any, b: Any) -> Any:
    """Return a with the signs of b; a must not be negative."""
    sign = builder.and_(builder.bitcast(b, _INTS), _constant(0x80000000, _INTS))
    return builder.bitcast(builder.or_(builder.bitcast(a, _INTS), sign), _FLOATS)


def _reduction(name: str, merge: Callable[[Any, Any, Any], Any]) -> Any:
    def emit(builder: Any, value: Any) -> Any:
        width = WIDTH
        while width > 1:
            width //= 2
            lanes = ir.VectorType(ir.IntType(32), width)
            low, high = (
                builder.shuffle_vector(value, value, ir.Constant(lanes, list(range(start, start + width))))
                for start in (0, width)
            )
            value = merge(builder, low, high)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    emit.__name__ = name
    return _intrinsic(types.float32, f32x16)(emit)


total = _reduction("total", lambda builder, a, b: builder.fadd(a, b))
"""Return the sum of the sixteen numbers."""
largest = _reduction("largest", lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
"""Return the maximum of the sixteen numbers."""


@_intrinsic(f32x16, f32x16)
def exp(builder: Any, x: Any) -> Any:
    """Return e^x to 2 units in the last place; 0 for x < -87, where results would be denormal and slow.

    x = n ln 2 + r with |r| <= ln 2 / 2; n is added to the exponent bits, and e^r is a polynomial.
    """

    def f(value: float) -> Any:
        return _constant(value, _FLOATS)

    def multiply_add(a: Any, b: Any, c: Any) -> Any:
        function = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        name = f"llvm.fma.v{WIDTH}f32"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [a, b, c])

    x = builder.select(builder.fcmp_ordered("<", x, f(88.0)), x, f(88.0))
    # Adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits.
    shifted = multiply_add(x, f(1.4426950408889634), f(12582912.0))
    n = builder.fsub(shifted, f(12582912.0))
    r = multiply_add(n, f(-0.693359375), x)
    r = multiply_add(n, f(2.12194440e-4), r)
    p = f(1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = multiply_add(p, r, f(coefficient))
    p = multiply_add(p, builder.fmul(r, r), builder.fadd(r, f(1.0)))
    exponent = builder.shl(builder.bitcast(shifted, _INTS), _constant(23, _INTS))
    grown = builder.bitcast(builder.add(builder.bitcast(p, _INTS), exponent), _FLOATS)
    # This order of the select keeps NaN as NaN.
    return builder.select(builder.fcmp_ordered("<", x, f(-87.0)), f(0.0), grown)


@_intrinsic(u32x16, types.uint32)
def counters(builder: Any, first: Any) -> Any:
    """Return first, first + 1, ..., first + 15."""
    return builder.add(_splat(builder, first, _INTS), ir.Constant(_INTS, list(range(WIDTH))))


@_intrinsic(u32x16, u32x16, types.uint32, types.uint32)
def mix(builder: Any, counter: Any, low_key: Any, high_key: Any) -> Any:
    """Return 32 random bits for each counter: the hash `lowbias32` (C. Wellons, 2018) of (key, counter).

    The halves of the key are combined with the counter before the hash and with its result. The key is itself a hash.
    """
    x = builder.mul(counter, _constant(0x9E3779B9, _INTS))
    x = builder.xor(x, _splat(builder, low_key, _INTS))
    x = builder.mul(builder.xor(x, builder.lshr(x, _constant(16, _INTS))), _constant(0x7FEB352D, _INTS))
    x = builder.mul(builder.xor(x, builder.lshr(x, _constant(15, _INTS))), _constant(0x846CA68B, _INTS))
    x = builder.xor(x, builder.lshr(x, _constant(16, _INTS)))
    return builder.xor(x, _splat(builder, high_key, _INTS))


@_intrinsic(f32x16, f32x16, u32x16, types.uint32, types.uint32)
def keep(builder: Any, value: Any, bits: Any, shift: Any, dropped: Any) -> Any:
    """Keep each value if the sixteen bits starting at `shift` are at least `dropped`; set the others to 0."""
    sixteen = builder.and_(builder.lshr(bits, _splat(builder, shift, _INTS)), _constant(0xFFFF, _INTS))
    kept = builder.icmp_unsigned(">=", sixteen, _splat(builder, dropped, _INTS))
    return builder.select(kept, value, _constant(0.0, _FLOATS))


def _operator(operation: Callable[[Any, Any], Any], emit: Callable[[Any, Any, Any], Any]) -> None:
    def of_two(builder: Any, a: Any, b: Any) -> Any:
        return emit(builder, a, b)

    apply = _intrinsic(f32x16, f32x16, f32x16)(of_two)

    @overload(operation)
    @no_type_check
    def implementation(a, b):
        return (lambda a, b: apply(a, b)) if a == b == f32x16 else None


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
