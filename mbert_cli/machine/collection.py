"""Python's garbage collection while a command imports modules. Imports little: fast start-up."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@contextmanager
def collecting_later() -> Iterator[None]:
    """Collect no garbage while a block imports modules and reads a model; never search their objects later.

    The collector runs after a number of new objects. Imports create hundreds of thousands, almost all of which live to
    the end. In `mbert predict` of a few rows, the searches took a seventh of the CPU time. A second block in the same
    process imports little, so it changes nothing: what the program has built can still be collected.
    """
    if not gc.isenabled() or _freeze.cache_info().currsize:
        yield
        return
    gc.disable()
    try:
        yield
        _freeze()
    finally:
        gc.enable()


@cache  # runs once; gc.get_freeze_count() would walk over all objects
def _freeze() -> None:
    """Take all objects out of garbage collection."""
    gc.freeze()
