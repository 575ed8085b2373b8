"""How Numba compiles the loops: in parallel, once, and kept on disk where that can be written."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import torch
from numba.core.caching import FunctionCache, NullCache

from mbert_cli.encoder import kernels

# Of the layers that can be loaded, the one whose threads start fastest: 231, 297 and 339 ms a training step.
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # type: ignore[attr-defined]
_THREADS = torch.get_num_threads()
numba.set_num_threads(min(_THREADS, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
# Numba has started its threads now, one a core; by that it has told OpenMP, hence PyTorch, to take as many.
torch.set_num_threads(_THREADS)

_SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


class _Cache(FunctionCache):
    """Numba's, which forgets what was compiled from other sources, and without which one can go on."""

    def _index_key(self, *given: Any) -> Any:
        # Numba's own key looks at a function's file, not at those of the functions that it calls.
        return (*super()._index_key(*given), _SOURCES)

    def load_overload(self, *given: Any) -> Any:
        found = None
        try:
            found = super().load_overload(*given)
        except Exception:  # a damaged file, of whichever kind: compile anew
            with suppress(OSError):
                self.flush()
        if found is None:
            _tell("kept for the next time")
        return found

    def save_overload(self, *given: Any) -> None:
        with suppress(OSError):  # no space, no permission: other processes compile for themselves
            super().save_overload(*given)


class _NoCache(NullCache):
    def load_overload(self, *_: Any) -> None:
        _tell("and not kept, for there is no folder to write to; name one with NUMBA_CACHE_DIR")


def _tell(what_then: str) -> None:
    if kernels.tell_of_compiling is not None:
        kernels.tell_of_compiling(f"compiling the fused kernels for this processor: a minute at most, {what_then}")
        kernels.tell_of_compiling = None


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of arrays and numbers, its `prange` loops shared among threads."""
    dispatcher = numba.njit(parallel=True, nogil=True, error_model="numpy")(function)
    try:
        dispatcher._cache = _Cache(function)  # type: ignore[attr-defined]
    except RuntimeError:
        dispatcher._cache = _NoCache()  # type: ignore[attr-defined]
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that compiled ones call; LLVM puts it into them."""
    return numba.njit(nogil=True, error_model="numpy")(function)
