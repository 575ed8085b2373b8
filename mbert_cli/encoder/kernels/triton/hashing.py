"""Dropout masks in Triton: the hash of `encoder.dropout.kept`, bit for bit."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def kept(key, rows, columns, dropped):
    """Return which values dropout keeps, [rows, columns].

    Args:
        key: pointer to the key of the site, a 64-bit integer.
        rows: the number of each row.
        columns: the number of each column.
        dropped: how many of 65,536 values are dropped.
    """
    z = (rows.to(tl.uint64) + 1) * 0x9E3779B97F4A7C15 + tl.load(key).to(tl.uint64, bitcast=True)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    z = z ^ (z >> 31)
    low, high = (z & 0xFFFFFFFF).to(tl.uint32), (z >> 32).to(tl.uint32)
    counters = (columns // 32 * 16 + columns % 16).to(tl.uint32) * 0x9E3779B9
    x = counters[None, :] ^ low[:, None]
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    x = x ^ (x >> 16) ^ high[:, None]
    halves = tl.where((columns // 16 % 2 == 1)[None, :], x >> 16, x & 0xFFFF)
    return halves >= dropped


@triton.jit
@no_type_check
def scaled(value, mask, dropped):
    """Return the values that dropout keeps, divided by 1 - p, and 0 for the others."""
    return tl.where(mask, value * (65536.0 / tl.maximum(65536 - dropped, 1).to(value.dtype)), 0)
