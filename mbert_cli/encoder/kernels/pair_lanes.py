"""Products of int8 rows with AVX2, computed with numbers of 16 bits.

The instruction VPMADDWD multiplies 16 pairs of such numbers, and adds neighbouring products: it has eight results. The
instruction VPADDD then adds them to the sums. All sums are exact, in int32. Weights are bytes in memory; each tile
converts them to 16 bits. Rows are converted once for each block of rows.

The instruction VPMADDUBSW multiplies 32 pairs of bytes, but needs two further instructions: one gives w the sign of x,
because one factor must be unsigned (|x|); the other converts the results of 16 bits to 32 bits. So the number of
instructions per product is the same. The module has the same functions as `dot_lanes`; see `int8_tile`.
"""

from collections.abc import Sequence
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Int8
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from mbert_cli.encoder.kernels.compiling import inlined
from mbert_cli.encoder.kernels.lanes import WIDTH

ROWS, PANEL = 6, 16
"""The rows and columns of a tile. Its 12 vectors of sums and their inputs fit into 16 registers."""
BLOCK = 96
"""Rows of a block."""
PREPARED = np.int16
"""The data type of prepared rows."""
_GROUP = 2  # products that one instruction adds
_UNROLLED = 2  # groups in each iteration of the loop
_LANES = 8
_INT, _SHORT, _BYTE = ir.IntType(32), ir.IntType(16), ir.IntType(8)
_INTS, _SHORTS = ir.VectorType(_INT, _LANES), ir.VectorType(_SHORT, WIDTH)
_BYTES = ir.VectorType(_BYTE, WIDTH)


def is_supported() -> bool:
    """Return whether the processor has AVX2, and Numba compiles for this processor."""
    is_other_target = numba.config.CPU_NAME or numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    return bool(get_host_cpu_features().get("avx2") and not is_other_target)


def packed(weight: Int8[Tensor, "out in"]) -> np.ndarray:
    """Return w in the order in which `multiply_tile` reads it: [out / 16, in / 2, 16, 2], flat, as unsigned bytes.

    The number of outputs is rounded up to a multiple of 16 with weights of 0.

    Args:
        weight: the weight; the number of inputs is a multiple of 4.
    """
    columns, size = weight.shape
    padded = np.zeros((-(-columns // PANEL) * PANEL, size), np.uint8)
    padded[:columns] = weight.detach().numpy().view(np.uint8)
    return padded.reshape(-1, PANEL, size // _GROUP, _GROUP).transpose(0, 2, 1, 3).reshape(-1)


@inlined
@no_type_check
def prepared_size(rows, size):
    """Return how many numbers `prepare_rows` writes."""
    return rows * size


@inlined
@no_type_check
def prepare_rows(rows8, at, rows, size, prepared):
    """Write rows as numbers of 16 bits.

    Args:
        rows8: int8; the rows are one after another, the first one starts at `at`.
        at: see `rows8`.
        rows: number of rows.
        size: number of values in a row, a multiple of sixteen.
        prepared: int16, [rows * size].
    """
    for index in range(0, rows * size, WIDTH):
        widen(rows8, at + index, prepared, index)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, like: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), like.as_pointer())


@intrinsic
@no_type_check
def widen(typingctx, source, index, target, to):
    """Write sixteen numbers of an int8 array, from `index` on, to an int16 array, from `to` on."""

    def codegen(context, builder, signature, args):
        source, index, target, to = args
        numbers = builder.load(_pointer(context, builder, signature.args[0], source, index, _BYTES), align=1)
        place = _pointer(context, builder, signature.args[2], target, to, _SHORTS)
        builder.store(builder.sext(numbers, _SHORTS), place, align=2)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen


def _multiply_add(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    kind = ir.FunctionType(_INTS, [_SHORTS, _SHORTS])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
    return builder.add(sums, builder.call(function, [a, b]))


def _spread_pair(builder: Any, row: Any, index: Any) -> Any:
    """Return eight copies of two numbers of a row."""
    undefined = ir.Constant(_INTS, ir.Undefined)
    pair = builder.load(builder.bitcast(builder.gep(row, [index]), _INT.as_pointer()), align=2)
    first = builder.insert_element(undefined, pair, ir.Constant(_INT, 0))
    return builder.bitcast(builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * _LANES)), _SHORTS)


def _multiply(builder: Any, rows: Sequence[Any], panel: Any, size: Any) -> list[list[Any]]:
    """Return the vectors of products of each row and a panel of weights.

    Args:
        builder: writes the LLVM code of a loop over the numbers of a row, four at a time.
        rows: pointers to the rows.
        panel: pointer to the panel.
        size: number of values in a row.
    """
    index = size.type
    entry, loop, done = builder.block, builder.append_basic_block("tile"), builder.append_basic_block("multiplied")
    builder.branch(loop)
    builder.position_at_end(loop)
    step, sums = builder.phi(index), [[builder.phi(_INTS) for _ in range(0, PANEL, _LANES)] for _ in rows]
    results = [list(own) for own in sums]
    for group in range(_UNROLLED):
        own_step = builder.add(step, ir.Constant(index, _GROUP * group))
        at = builder.gep(panel, [builder.mul(own_step, ir.Constant(index, PANEL))])
        places = [builder.gep(at, [ir.Constant(index, _GROUP * column)]) for column in range(0, PANEL, _LANES)]
        columns = [builder.load(builder.bitcast(place, _BYTES.as_pointer()), align=1) for place in places]
        columns = [builder.sext(each, _SHORTS) for each in columns]
        for own, row in zip(results, rows, strict=True):
            pair = _spread_pair(builder, row, own_step)
            own[:] = [_multiply_add(builder, each, column, pair) for each, column in zip(own, columns, strict=True)]
    following = builder.add(step, ir.Constant(index, _GROUP * _UNROLLED))
    step.add_incoming(ir.Constant(index, 0), entry)
    step.add_incoming(following, loop)
    for own, later in zip(sums, results, strict=True):
        for each, result in zip(own, later, strict=True):
            each.add_incoming(ir.Constant(_INTS, [0] * _LANES), entry)
            each.add_incoming(result, loop)
    builder.cbranch(builder.icmp_signed("<", following, size), loop, done)
    builder.position_at_end(done)
    return results


@intrinsic
@no_type_check
def multiply_tile(typingctx, rows8, at, size, rows, weights, panel, prepared, first, out, place, width):
    """Write the products of at most six rows and the 16 columns of a panel of weights.

    Args:
        typingctx: Numba's.
        rows8: not used; see `dot_lanes.multiply_tile`.
        at: not used.
        size: number of values in a row, a multiple of four.
        rows: number of rows, 1 to 6.
        weights: the result of `packed`.
        panel: index of the panel's first byte in `weights`.
        prepared: the rows of a block, written by `prepare_rows`.
        first: number of the first row in `prepared`.
        out: int32; the products of row i are written from out[place + i * width] on.
        place: see `out`.
        width: see `out`.
    """

    def codegen(context, builder, signature, args):
        _, _, size, rows, weights, panel, prepared, first, out, place, width = args
        last = builder.sub(rows, ir.Constant(size.type, 1))
        numbers = [ir.Constant(size.type, i) for i in range(ROWS)]
        # If there are fewer than six rows, compute the last one several times.
        numbers = [builder.select(builder.icmp_signed("<", i, rows), i, last) for i in numbers]
        starts = [builder.mul(builder.add(first, i), size) for i in numbers]
        sources = [_pointer(context, builder, signature.args[6], prepared, start, _SHORT) for start in starts]
        start = _pointer(context, builder, signature.args[4], weights, panel, _BYTE)
        results = _multiply(builder, sources, start, size)
        for i, vectors in zip(numbers, results, strict=True):
            row = builder.add(place, builder.mul(i, width))
            for column, vector in zip(range(0, PANEL, _LANES), vectors, strict=True):
                at = builder.add(row, ir.Constant(size.type, column))
                builder.store(vector, _pointer(context, builder, signature.args[8], out, at, _INTS), align=4)
        return context.get_dummy_value()

    number = types.intp
    signature = types.void(rows8, number, number, number, weights, number, prepared, number, out, number, number)
    return signature, codegen
