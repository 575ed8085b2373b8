"""Numba compilation of the loops: parallel, and cached on disk if a cache folder is writable."""

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
import torch
from numba.core.caching import FunctionCache, NullCache
from numba.core.runtime.nrt import rtsys

# Use the available threading layer whose threads start fastest: 231, 297 and 339 ms per training step, in this order.
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # type: ignore[attr-defined]
_THREADS = torch.get_num_threads()
numba.set_num_threads(min(_THREADS, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
# Numba has now started one thread per core. This also changed the number of threads of OpenMP, and so of PyTorch.
torch.set_num_threads(_THREADS)

_log = logging.getLogger(__name__)


def _compiled_sources() -> str:
    """Return a hash of the files of this package with code that Numba compiles."""
    sources = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(b"".join(each for each in sources if b"numba" in each or b"compiling" in each)).hexdigest()


_SOURCES = _compiled_sources()


class _Cache(FunctionCache):
    """Numba's cache, invalidated when a file with compiled code changes; failures of the cache are ignored."""

    def _index_key(self, *args: Any) -> Any:
        # Numba's key covers the file of a function, but not the files of the functions that it calls.
        return (*super()._index_key(*args), _SOURCES)

    def load_overload(self, signature: Any, target: Any) -> Any:
        overload = None
        try:
            # Numba's own method first prepares the compiler: it imports SciPy and registers thousands of functions.
            # That takes most of the time. Compiled code needs only the runtime, which allocates arrays.
            rtsys.initialize(target)
            with self._guard_against_spurious_io_errors():
                overload = self._load_overload(signature, target)
        except Exception:  # any kind of damaged file: compile again
            with suppress(OSError):
                self.flush()
        if overload is None:
            _report("the result is cached")
        return overload

    def save_overload(self, *args: Any) -> None:
        with suppress(OSError):  # no space or no permission: every process compiles
            super().save_overload(*args)


class _NoCache(NullCache):
    def load_overload(self, *_: Any) -> None:
        _report("the result is not cached: no cache folder is writable; set NUMBA_CACHE_DIR")


@cache  # once per process
def _report(cached: str) -> None:
    _log.info("compiling the fused kernels for this processor; this takes up to two minutes; %s", cached)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of arrays and numbers; its `prange` loops run on several threads."""
    dispatcher = numba.njit(parallel=True, nogil=True, error_model="numpy")(function)
    try:
        dispatcher._cache = _Cache(function)  # type: ignore[attr-defined]
    except RuntimeError:
        dispatcher._cache = _NoCache()  # type: ignore[attr-defined]
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that compiled functions call; LLVM inlines it.

    The function must not allocate arrays, because reference counting is off. Counting would take most of the time of a
    short loop.
    """
    options: dict[str, Any] = {"forceinline": True, "_nrt": False}
    return numba.njit(nogil=True, error_model="numpy", **options)(function)
