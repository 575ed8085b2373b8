"""Products of int8 rows with AVX512-VNNI: one instruction adds 64 products of two numbers to sixteen sums.

The instruction, VPDPBUSD, multiplies unsigned by signed bytes. So weights are stored as w + 128, and the sums start at
-128 * (sum of the row): sum_k (w_k + 128) x_k - 128 sum_k x_k = sum_k w_k x_k. All sums are exact, in int32.
The module has the same functions as `pair_lanes`; see `int8_tile`.
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

ROWS, PANEL = 6, 64
"""The rows and columns of a tile. Its 24 vectors of sums and their inputs fit into 32 registers."""
BLOCK = 96
"""Rows of a block. More rows would not fit into the cache of a core. With fewer, weights would be read more often."""
PREPARED = np.int32
"""The data type of prepared rows."""
_GROUP = 4  # products that one instruction adds to each sum
_INT, _BYTE = ir.IntType(32), ir.IntType(8)
_INTS, _BYTES = ir.VectorType(_INT, WIDTH), ir.VectorType(_BYTE, _GROUP * WIDTH)


def is_supported() -> bool:
    """Return whether the processor has AVX512-VNNI, and Numba compiles for this processor."""
    is_other_target = numba.config.CPU_NAME or numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    return bool(get_host_cpu_features().get("avx512vnni") and not is_other_target)


def packed(weight: Int8[Tensor, "out in"]) -> np.ndarray:
    """Return w + 128 in the order in which `multiply_tile` reads it: [out / 64, in / 4, 64, 4], flat.

    The number of outputs is rounded up to a multiple of 64 with weights of 0.

    Args:
        weight: the weight; the number of inputs is a multiple of 4.
    """
    columns, size = weight.shape
    unsigned = np.full((-(-columns // PANEL) * PANEL, size), 128, np.uint8)
    unsigned[:columns] = weight.detach().numpy().view(np.uint8) ^ 128
    return unsigned.reshape(-1, PANEL, size // _GROUP, _GROUP).transpose(0, 2, 1, 3).reshape(-1)


def _multiply_add(builder: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    kind = ir.FunctionType(_INTS, [_INTS, _BYTES, _BYTES])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(function, [sums, *(builder.bitcast(each, _BYTES) for each in (unsigned, signed))])


def _splat(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(_INTS, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * WIDTH))


@intrinsic
@no_type_check
def sum_of_bytes(typingctx, array, start, count):
    """Return the sum of `count` numbers of an int8 array from `start` on; `count` is a positive multiple of sixteen."""

    def codegen(context, builder, signature, args):
        array, start, count = args
        index = start.type
        data = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [start])
        entry, loop, done = builder.block, builder.append_basic_block("bytes"), builder.append_basic_block("summed")
        builder.branch(loop)
        builder.position_at_end(loop)
        at, sums = builder.phi(index), builder.phi(_INTS)
        place = builder.bitcast(builder.gep(data, [at]), ir.VectorType(_BYTE, WIDTH).as_pointer())
        new = builder.add(sums, builder.sext(builder.load(place, align=1), _INTS))
        following = builder.add(at, ir.Constant(index, WIDTH))
        for phi, first, later in ((at, ir.Constant(index, 0), following), (sums, ir.Constant(_INTS, [0] * WIDTH), new)):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
        builder.position_at_end(done)
        total = ir.FunctionType(_INT, [_INTS])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, total, "llvm.vector.reduce.add.v16i32"), [new]
        )

    return types.int32(array, types.intp, types.intp), codegen


@inlined
@no_type_check
def prepared_size(rows, size):
    """Return how many numbers `prepare_rows` writes."""
    return rows


@inlined
@no_type_check
def prepare_rows(rows8, at, rows, size, prepared):
    """Write the value that the sums of each row start with.

    Args:
        rows8: int8; the rows are one after another, the first one starts at `at`.
        at: see `rows8`.
        rows: number of rows.
        size: number of values in a row, a multiple of sixteen.
        prepared: int32, [rows].
    """
    for row in range(rows):
        prepared[row] = -128 * sum_of_bytes(rows8, at + row * size, size)


def _multiply(builder: Any, rows: Sequence[Any], first_sums: Sequence[Any], panel: Any, size: Any) -> list[list[Any]]:
    """Return the vectors of products of each row and a panel of weights.

    Args:
        builder: writes the LLVM code of a loop over the numbers of a row, four at a time.
        rows: pointers to the rows.
        first_sums: the vector in which the sums of each row start.
        panel: pointer to the panel.
        size: number of values in a row.
    """
    index = size.type
    entry, loop, done = builder.block, builder.append_basic_block("tile"), builder.append_basic_block("multiplied")
    builder.branch(loop)
    builder.position_at_end(loop)
    step, sums = builder.phi(index), [[builder.phi(_INTS) for _ in range(0, PANEL, WIDTH)] for _ in rows]
    at = builder.gep(panel, [builder.mul(step, ir.Constant(index, PANEL))])
    places = [builder.gep(at, [ir.Constant(index, _GROUP * column)]) for column in range(0, PANEL, WIDTH)]
    columns = [builder.load(builder.bitcast(place, _INTS.as_pointer()), align=1) for place in places]
    results = []
    for row, own in zip(rows, sums, strict=True):
        four = builder.load(builder.bitcast(builder.gep(row, [step]), _INT.as_pointer()), align=1)
        four = _splat(builder, four)
        results.append([_multiply_add(builder, each, column, four) for each, column in zip(own, columns, strict=True)])
    following = builder.add(step, ir.Constant(index, _GROUP))
    step.add_incoming(ir.Constant(index, 0), entry)
    step.add_incoming(following, loop)
    for first, own, later in zip(first_sums, sums, results, strict=True):
        for each, result in zip(own, later, strict=True):
            each.add_incoming(first, entry)
            each.add_incoming(result, loop)
    builder.cbranch(builder.icmp_signed("<", following, size), loop, done)
    builder.position_at_end(done)
    return results


@intrinsic
@no_type_check
def multiply_tile(typingctx, rows8, at, size, rows, weights, panel, prepared, first, out, place, width):
    """Write the products of at most six rows and the 64 columns of a panel of weights.

    Args:
        typingctx: Numba's.
        rows8: int8; the rows are one after another, the first one starts at `at`.
        at: see `rows8`.
        size: number of values in a row, a multiple of four.
        rows: number of rows, 1 to 6.
        weights: the result of `packed`.
        panel: index of the panel's first byte in `weights`.
        prepared: written by `prepare_rows`; prepared[first + i] is the value that the sums of row i start with.
        first: see `prepared`.
        out: int32; the products of row i are written from out[place + i * width] on.
        place: see `out`.
        width: see `out`.
    """

    def codegen(context, builder, signature, args):
        rows8, at, size, rows, weights, panel, prepared, first, out, place, width = args

        def pointer(argument, array, offset):
            return builder.gep(context.make_array(signature.args[argument])(context, builder, array).data, [offset])

        last = builder.sub(rows, ir.Constant(size.type, 1))
        numbers = [ir.Constant(size.type, i) for i in range(ROWS)]
        # If there are fewer than six rows, compute the last one several times.
        numbers = [builder.select(builder.icmp_signed("<", i, rows), i, last) for i in numbers]
        sources = [pointer(0, rows8, builder.add(at, builder.mul(i, size))) for i in numbers]
        sums = [_splat(builder, builder.load(pointer(6, prepared, builder.add(first, i)))) for i in numbers]
        results = _multiply(builder, sources, sums, pointer(4, weights, panel), size)
        for i, vectors in zip(numbers, results, strict=True):
            target = pointer(8, out, builder.add(place, builder.mul(i, width)))
            for column, vector in enumerate(vectors):
                part = builder.gep(target, [ir.Constant(size.type, column * WIDTH)])
                builder.store(vector, builder.bitcast(part, _INTS.as_pointer()), align=4)
        return context.get_dummy_value()

    number = types.intp
    signature = types.void(rows8, number, number, number, weights, number, prepared, number, out, number, number)
    return signature, codegen
