"""The tiles of int8 products: exact sums for every set of instructions that this processor has."""

from functools import cache

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba")
from llvmlite import ir  # noqa: E402

from mbert_cli.encoder.kernels import dot_lanes, int8_tile, pair_lanes  # noqa: E402 -- they need Numba
from mbert_cli.encoder.kernels.int8_block_loops import multiply_block  # noqa: E402

VALUES = {"largest": [-127, 127], "same sign": [127], "mixed": [-127, 127, 0, 5], "small": [-1, 0, 1]}
"""Different kinds of integers."""


@numba.njit
def multiply(x, first, rows, size, weights, width, prepared, z):
    multiply_block(x, first, rows, size, weights, width, prepared, z)


def multiplier(module):
    """Return a compiled function like `multiply`, with the tile of one module."""
    panel_width, most, tile, prepare = module.PANEL, module.ROWS, module.multiply_tile, module.prepare_rows

    @numba.njit
    def multiply_with(x, first, rows, size, weights, width, prepared, z):
        prepare(x, first * size, rows, size, prepared)
        for panel in range(0, width, panel_width):
            for row in range(0, rows, most):
                at, count, place = (first + row) * size, min(most, rows - row), row * width + panel
                tile(x, at, size, count, weights, panel * size, prepared, row, z, place, width)

    return multiply_with


def check(multiply, module, seed, rows, size, columns, first=0):
    """Compare products with those of NumPy, for different kinds of integers."""
    rng = np.random.default_rng(seed)
    for values in VALUES.values():
        x = rng.choice(values, size=(first + rows, size)).astype(np.int8)
        weight = rng.choice(values, size=(columns, size)).astype(np.int8)
        x[-1], weight[-1] = 127, -127
        width = -(-columns // module.PANEL) * module.PANEL
        z = np.full(rows * width + 1, 7, np.int32)
        prepared = np.empty(rows * size, module.PREPARED)
        multiply(x.ravel(), first, rows, size, module.packed(torch.from_numpy(weight)), width, prepared, z)
        expected = x[first:].astype(np.int64) @ weight.astype(np.int64).T
        found = z[:-1].reshape(rows, width)
        assert (found[:, :columns] == expected).all()
        assert (found[:, columns:] == 0).all()
        assert z[-1] == 7  # nothing is written after the last row


def _marks(module):
    return () if module.is_supported() else pytest.mark.skip(reason="this processor has no such instructions")


def of_this_processor():
    """Return the modules; those without instructions on this processor are skipped."""
    return [pytest.param(each, id=each.__name__.rpartition(".")[2], marks=_marks(each)) for each in int8_tile.MODULES]


@pytest.mark.parametrize("module", of_this_processor())
def test_tile_multiplies_every_number_of_rows_and_columns_exactly(module):
    multiply = multiplier(module)
    for rows in range(1, 14):
        for size, columns in ((16, 16), (48, 80), (112, 33), (400, 5), (384, 64), (1536, 48)):
            check(multiply, module, rows, rows, size, columns, first=rows % 3)


def test_tile_of_vnni_is_exact_with_its_instruction_replaced(monkeypatch):
    """Runs on any processor: the loads, stores and corrections are those of the tile."""
    monkeypatch.setattr(dot_lanes, "_multiply_add", add_four_products)
    for rows in range(1, 14):
        check(multiplier_of_vnni(), dot_lanes, rows, rows, 48, 80, first=rows % 3)


@cache
def multiplier_of_vnni():
    return multiplier(dot_lanes)


def add_four_products(builder, sums, unsigned, signed):
    """Write what VPDPBUSD does in instructions that any processor has."""
    byte = ir.VectorType(ir.IntType(8), 64)
    wide = ir.VectorType(ir.IntType(32), 64)
    a, b = builder.zext(builder.bitcast(unsigned, byte), wide), builder.sext(builder.bitcast(signed, byte), wide)
    products = builder.mul(a, b)
    for place in range(4):
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), 16), [4 * lane + place for lane in range(16)])
        sums = builder.add(sums, builder.shuffle_vector(products, products, lanes))
    return sums


@pytest.mark.skipif(not int8_tile.IS_SUPPORTED, reason="no tile for this processor, or AMX is faster")
@pytest.mark.parametrize(("rows", "size", "columns"), [(1, 16, 16), (7, 48, 80), (100, 400, 64), (96, 3072, 100)])
def test_block_of_rows_is_multiplied_exactly(rows, size, columns):
    check(multiply, int8_tile, rows, rows, size, columns, first=2)


def test_weights_packed_for_avx2_take_one_byte_each():
    packed = pair_lanes.packed(torch.ones(48, 64, dtype=torch.int8))
    assert packed.nbytes == 48 * 64


def test_a_processor_with_amx_uses_the_products_of_onednn(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert int8_tile._chosen() is None


def test_the_fastest_instructions_of_the_processor_are_chosen(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for supported in ([True, True], [False, True], [False, False]):
        for module, has in zip(int8_tile.MODULES, supported, strict=True):
            monkeypatch.setattr(module, "is_supported", lambda has=has: has)
        fastest = [each for each, has in zip(int8_tile.MODULES, supported, strict=True) if has]
        assert int8_tile._chosen() is (fastest[0] if fastest else None)
