"""Dropout whose masks are a function of (seed, step, site, row, column), not of a generator's state.

The mask of a value is a hash of the key of its site and of its place. A site is one call of dropout in the forward pass
of a step. The place is the number of the row in the whole batch and the column. So masks do not depend on the device,
the kernels, padding, or how a batch is divided among processes. The fused kernels compute the same hash: see
`kernels.dropout_loops`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mbert_cli.batch import as_tensor, capturing
from mbert_cli.encoder import kernels
from mbert_cli.randomness import derive

LEVELS = 1 << 16
"""A probability is rounded to a multiple of 1 / LEVELS, in the divisor too, so that the mean is preserved."""

_AT_ONCE = 32  # sites whose row keys are computed together

Rows = Int[Tensor, " rows"]
Result = TypeVar("Result")
_HALF = 16  # one hash of 32 bits serves two columns that are 16 apart


class _Sites:
    """The sites of one forward pass.

    Args:
        seed: the run's seed.
        step: number of the step in the run.
        on_device: the keys of all sites, on the device of the model; None computes them when they are needed.
    """

    def __init__(self, seed: int, step: int, on_device: Int[Tensor, " sites"] | None = None) -> None:
        self._seed, self._step, self._on_device, self.count = seed, step, on_device, 0
        self._keys: dict[int, Tensor] = {}
        self._row_keys: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def next_key(self) -> int:
        if capturing.get():
            raise RuntimeError("a CUDA graph cannot contain the key of a site as a number")
        self.count += 1
        return self._key(self.count)

    def row_keys(self, rows: Rows) -> Rows:
        """Return the row keys of the latest site; see `kept`.

        All sites of a forward pass have the same few tensors of row numbers. The keys of many sites are computed at
        once, because launching an operation on a GPU takes longer than the operation.
        """
        part, place = divmod(self.count - 1, _AT_ONCE)
        if (part, id(rows)) not in self._row_keys:
            # `rows` is stored, too, so that no other tensor gets its id.
            self._row_keys[part, id(rows)] = rows, _row_keys(rows, self._keys_of(part, rows.device)[:, None])
        return self._row_keys[part, id(rows)][1][place]

    def next_key_on(self, device: torch.device) -> Int[Tensor, ""]:
        """Return the next key as a tensor on a device."""
        self.count += 1
        part, place = divmod(self.count - 1, _AT_ONCE)
        return self._keys_of(part, device)[place]

    def _keys_of(self, part: int, device: torch.device) -> Tensor:
        """Return the keys of `_AT_ONCE` sites. One copy brings them to a GPU."""
        if part not in self._keys:
            first = part * _AT_ONCE
            if self._on_device is not None:
                self._keys[part] = self._on_device[first : first + _AT_ONCE]
            else:
                self._keys[part] = as_tensor(site_keys(self._seed, self._step, _AT_ONCE, first), device)
        return self._keys[part]

    def _key(self, number: int) -> int:
        return _key_of(self._seed, self._step, number)


def site_keys(seed: int, step: int, count: int, first: int = 0) -> np.ndarray:
    """Return the keys of the sites `first` + 1 to `first` + `count` of a step."""
    return np.array([_key_of(seed, step, number) for number in range(first + 1, first + count + 1)], np.int64)


def _key_of(seed: int, step: int, number: int) -> int:
    return derive(seed, "dropout", step, number)


_sites: ContextVar[_Sites | None] = ContextVar("sites", default=None)
_rows: ContextVar[Callable[[], Rows | None] | None] = ContextVar("rows", default=None)


@contextmanager
def keyed(seed: int, step: int, keys: Int[Tensor, " sites"] | None = None) -> Iterator[Callable[[], int]]:
    """Make the masks of one forward pass a function of the seed and the step.

    Outside of this block, keys are drawn from PyTorch's generator.

    Args:
        seed: the run's seed.
        step: number of the step in the run.
        keys: the result of `site_keys` for all sites, on the device of the model; None computes the keys when they
            are needed, and copies them to the device.

    Yields:
        A function that returns the number of sites so far.
    """
    sites = _Sites(seed, step, keys)
    token = _sites.set(sites)
    try:
        yield lambda: sites.count
    finally:
        _sites.reset(token)


@contextmanager
def numbered(rows: Callable[[], Rows | None]) -> Iterator[None]:
    """Set the row numbers of the matrices in a block.

    Args:
        rows: returns the number of each row in the whole batch; is called only if something is dropped.
    """
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def same_keys(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that draws the same keys in every call, also after the forward pass.

    These are the keys of the next sites. Each call uses the kernels and the row numbers of the present context. The
    caller must not draw keys between two calls, except in another `keyed` block.
    """
    sites, context = _sites.get(), copy_context()
    count = 0 if sites is None else sites.count

    def call(*arguments: Any) -> Result:
        if sites is not None:
            sites.count = count
        return context.run(function, *arguments)

    return call


def draw_key() -> int:
    """Return the key of the next site."""
    sites = _sites.get()
    return int(torch.randint(1 << 62, ())) if sites is None else sites.next_key()


def site_key(device: torch.device) -> Int[Tensor, ""]:
    """Return the key of the next site as a tensor on a device.

    The keys of many sites are copied to a GPU at once.
    """
    sites = _sites.get()
    return as_tensor(np.array(draw_key()), device) if sites is None else sites.next_key_on(device)


def row_numbers(x: Float[Tensor, "rows columns"]) -> Rows:
    """Return the number of each row of a matrix; outside of `numbered`, the rows count from 0."""
    numbers = _rows.get()
    rows = None if numbers is None else numbers()
    if rows is None:
        return torch.arange(len(x), device=x.device)
    assert len(rows) == len(x), f"{len(rows)} row numbers for {len(x)} rows"
    return rows


def dropped_levels(p: float) -> int:
    """Return how many of 65,536 values are dropped with probability p."""
    return round(p * LEVELS)


def scale_of(dropped: int) -> float:
    """Return 1 / (1 - p), for the number of dropped levels."""
    return LEVELS / max(1, LEVELS - dropped)


def dropout(
    x: Float[Tensor, "*rows columns"],
    p: float,
    rows: Int[Tensor, "*rows"] | None = None,
    key: int | Int[Tensor, ""] | None = None,
    first: int = 0,
) -> Tensor:
    """Zero each value with probability `p`, and divide the others by 1 - p.

    Args:
        x: values.
        p: a probability, rounded to a multiple of 2^-16; with 0 the function returns x itself.
        rows: the number of each row in the whole batch. Default: those of `numbered` if x is a matrix; otherwise, rows
            are counted from 0.
        key: key of the site, the same for all parts of a site. Default: the key of the next site.
        first: number of the first column.
    """
    dropped = dropped_levels(p)
    if dropped == 0:
        return x
    sites = _sites.get()
    if rows is None and key is None and x.ndim == 2 and sites is not None:
        sites.count += 1
        mask = _kept(sites.row_keys(row_numbers(x)), x.shape[-1], dropped, first)
    else:
        if rows is None:
            rows = row_numbers(x) if x.ndim == 2 else _counted_from_0(x)
        mask = kept(rows, x.shape[-1], draw_key() if key is None else key, dropped, first)
    return x * mask.to(x.dtype).mul_(scale_of(dropped))


def _counted_from_0(x: Tensor) -> Tensor:
    shape = x.shape[:-1]
    return torch.arange(shape.numel(), device=x.device).view(shape)


def kept(
    rows: Int[Tensor, "*rows"], columns: int, key: int | Int[Tensor, ""], dropped: int, first: int = 0
) -> Bool[Tensor, "*rows columns"]:
    """Return which values dropout keeps.

    The key of a row is splitmix64 (Steele, Lea & Flood 2014) of (key, row). The random bits of columns c and c + 16 are
    the halves of the 32-bit hash `lowbias32` (C. Wellons, 2018) of (key of the row, c).

    Args:
        rows: the number of each row.
        columns: number of columns.
        key: key of the site.
        dropped: how many of 65,536 values are dropped.
        first: number of the first column.
    """
    return _kept(_row_keys(rows, key), columns, dropped, first)


def _kept(row_keys: Tensor, columns: int, dropped: int, first: int) -> Tensor:
    """Return `kept` for rows with these keys."""
    # On little-endian machines, the lower half of each key is first.
    low, high = row_keys.contiguous()[..., None].view(torch.int32).split(1, -1)
    start, end = first // (2 * _HALF), -(-(first + columns) // (2 * _HALF))
    x = _counters(start * _HALF, end * _HALF, row_keys.device) ^ low
    x.bitwise_xor_(_shifted(x, 16)).mul_(_signed(0x7FEB352D))
    x.bitwise_xor_(_shifted(x, 15)).mul_(_signed(0x846CA68B))
    x.bitwise_xor_(_shifted(x, 16)).bitwise_xor_(high)
    words = x.unflatten(-1, (end - start, 1, _HALF))
    halves = torch.cat([words & 0xFFFF, _shifted(words, 16)], -2)
    before = first - 2 * _HALF * start
    return halves.flatten(-3)[..., before : before + columns] >= dropped


@cache  # never freed, because CUDA graphs read it
def _counters(start: int, end: int, device: torch.device) -> Tensor:
    """Return the 32-bit hashes of the numbers from `start` to `end`; all steps use the same ones."""
    return torch.arange(start, end, device=device, dtype=torch.int32).mul_(_signed(0x9E3779B9))


def _row_keys(rows: Tensor, key: int | Tensor) -> Tensor:
    """Return the hash of each key and row. The 64-bit integers wrap around."""
    z = (rows + 1) * _signed(0x9E3779B97F4A7C15, 64) + key
    z = (z ^ _shifted(z, 30, 64)) * _signed(0xBF58476D1CE4E5B9, 64)
    z = (z ^ _shifted(z, 27, 64)) * _signed(0x94D049BB133111EB, 64)
    return z ^ _shifted(z, 31, 64)


def _shifted(x: Tensor, bits: int, width: int = 32) -> Tensor:
    """Shift right as for unsigned integers."""
    return (x >> bits).bitwise_and_((1 << (width - bits)) - 1)


def _signed(value: int, width: int = 32) -> int:
    """Return the signed integer with the same bits."""
    return value - (1 << width) if value >> (width - 1) else value


class Dropout(nn.Module):
    """`dropout` in training, the identity in evaluation.

    Args:
        p: probability of dropping a value.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Apply dropout in training; otherwise return x."""
        if not self.training or dropped_levels(self.p) == 0:
            return x
        dropped: Tensor = kernels.current().add_dropout(kernels.Pending(x, dropout_p=self.p))
        return dropped
