"""Stages of a computation that run at the same time, each in its own thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

from mbert_cli.machine.signals import deferred

Item = TypeVar("Item")
_WAIT = 0.05  # seconds between two looks at whether the consumer has stopped


class _End:
    """Comes after the last item, with the exception that ended the iteration, if there was one."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """A block with the items of an iterator that another thread advances, by at most two items.

    Items and exceptions arrive in their order. The end of the block stops the thread after its current item, closes the
    iterator, and waits for both. The iterator must not wait forever, for example for a pipe.
    """
    queue: Queue[Item | _End] = Queue(maxsize=1)
    stopped = Event()
    thread = Thread(target=copy_context().run, args=(_advance, items, queue, stopped), name="mbert-ahead", daemon=True)
    try:
        with deferred():  # an interrupted start cannot be waited for
            thread.start()
        yield _arriving(queue, thread)
    finally:
        stopped.set()
        if thread.ident is not None:  # it was started
            thread.join()


def _arriving(queue: "Queue[Item | _End]", thread: Thread) -> Iterator[Item]:
    while not isinstance(item := _next(queue, thread), _End):
        yield item
    if item.error is not None:
        raise item.error


def _next(queue: "Queue[Item | _End]", thread: Thread) -> Item | _End:
    """Return the next item; a signal interrupts the wait."""
    while True:
        try:
            return queue.get(timeout=_WAIT)
        except Empty:
            assert thread.is_alive() or not queue.empty(), "the thread puts an end into the queue"


def _advance(items: Iterator[Item], queue: "Queue[Item | _End]", stopped: Event) -> None:
    """Put all items into the queue, then an end."""
    error = None
    try:
        for item in items:
            _put(item, queue, stopped)
            if stopped.is_set():
                break
    except BaseException as raised:
        error = raised
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    _put(_End(error), queue, stopped)


def _put(item: Item | _End, queue: "Queue[Item | _End]", stopped: Event) -> None:
    while not stopped.is_set():
        try:
            queue.put(item, timeout=_WAIT)
        except Full:
            continue
        return
