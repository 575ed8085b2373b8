"""Writing an output piece by piece, so that it can be continued after an interruption."""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from mbert_cli.terminal.progress import Bar


@runtime_checkable
class Output(Protocol):
    """An open output that may have been begun by an interrupted command."""

    @property
    def rows(self) -> int:
        """Number of rows that it contains already."""
        ...

    @property
    def finished(self) -> bool:
        """Whether it is complete already."""
        ...

    @property
    def commit(self) -> Callable[[int], object]:
        """Keeps the rows written so far; takes their number."""
        ...


def write_pieces(out: Output, pieces: Callable[[], Iterator[int]], bar: Bar) -> int:
    """Write the missing rows of an output, and commit each piece; return the number of rows that it then contains.

    Args:
        out: the output.
        pieces: writes the missing rows; yields the number of rows written, after each piece. A finished output does not
            start it.
        bar: shows the rows.
    """
    done = out.rows
    bar.advance(by=done)
    for count in () if out.finished else pieces():
        out.commit(count)
        bar.advance(by=count - done)
        done = count
    return done
