"""Vector operations for int8 rows: see `lanes`."""

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mbert_cli.encoder.kernels.lanes import WIDTH, f32x16

_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_INTS = ir.VectorType(ir.IntType(32), WIDTH)
_BYTES = ir.VectorType(ir.IntType(8), WIDTH)
_ROUNDING = 12582912.0  # 1.5 * 2^23: adding it rounds to an integer, which is then in the lowest bits


def _magnitude(builder: Any, value: Any) -> Any:
    """Return the bits of the absolute values: as integers they have the order of the values; NaN is the largest."""
    return builder.and_(builder.bitcast(value, _INTS), ir.Constant(_INTS, [0x7FFFFFFF] * WIDTH))


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_unsigned(">", a, b), a, b)


@intrinsic
@no_type_check
def larger_magnitude(typingctx, peak, value):
    """Return max(peak, |value|), element-wise, for a peak that is not negative; NaN stays NaN."""

    def codegen(context, builder, signature, args):
        peak, value = args
        return builder.bitcast(_larger(builder, _magnitude(builder, peak), _magnitude(builder, value)), _FLOATS)

    return f32x16(f32x16, f32x16), codegen


@intrinsic
@no_type_check
def largest_magnitude(typingctx, peak):
    """Return the largest of sixteen numbers that are not negative; NaN if one of them is."""

    def codegen(context, builder, signature, args):
        value, width = builder.bitcast(args[0], _INTS), WIDTH
        while width > 1:
            width //= 2
            lanes = ir.VectorType(ir.IntType(32), width)
            low, high = (
                builder.shuffle_vector(value, value, ir.Constant(lanes, list(range(start, start + width))))
                for start in (0, width)
            )
            value = _larger(builder, low, high)
        return builder.bitcast(builder.extract_element(value, ir.Constant(ir.IntType(32), 0)), ir.FloatType())

    return types.float32(f32x16), codegen


@intrinsic
@no_type_check
def store_int8(typingctx, array, index, value):
    """Write sixteen numbers from -127 to 127 to an int8 array, rounded to nearest even."""

    def codegen(context, builder, signature, args):
        array, at, value = args
        shifted = builder.fadd(value, ir.Constant(_FLOATS, [_ROUNDING] * WIDTH))
        numbers = builder.trunc(builder.bitcast(shifted, _INTS), _BYTES)
        data = context.make_array(signature.args[0])(context, builder, array).data
        builder.store(numbers, builder.bitcast(builder.gep(data, [at]), _BYTES.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, f32x16), codegen
