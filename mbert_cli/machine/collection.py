"""Python's garbage collection while a command imports modules. Imports little: fast start-up."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@contextmanager
def collecting_later() -> Iterator[None]:
    """Do not collect garbage while a block imports modules and reads a model, and exclude their objects afterwards.

    The collector runs each time that a certain number of objects has been created. Imports create hundreds of thousands
    of objects. Almost all of them are used until the end of the process. In `mbert predict` of a few rows, searching
    them took a seventh of the CPU time. A second block in the same process changes nothing, because it imports little:
    objects that the program has created since the first block can still be collected.
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
    """Exclude all present objects from garbage collection."""
    gc.freeze()
