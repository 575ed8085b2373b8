"""A part of the rows of each input: `--shard i/N`.

Must not import torch: fast start-up.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mbert_cli.data.delimiter import DELIMITERS, NAMED_DELIMITERS, Delimiter
from mbert_cli.data.hub import PREFIX
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError, UsageError


@dataclass(frozen=True)
class Shard:
    """One of several parts of the rows of a table.

    Args:
        part: number of the part, from 1.
        parts: number of parts.
    """

    part: int
    parts: int

    def rows_of(self, table: Table, limit: int | None) -> "ShardRows":
        """Count the rows of a table, and return those of this part.

        Args:
            table: a file; it is read once more, so that no row of `table` itself is read.
            limit: number of rows of the table that are used; None for all.
        """
        delimiter: Delimiter = next(name for name in NAMED_DELIMITERS if DELIMITERS[name] == table.delimiter)
        with Table(table.name, table.quoting, delimiter) as again:
            return ShardRows(self, again.skip(2**62 if limit is None else limit))


@dataclass(frozen=True)
class ShardRows:
    """The rows of a part: contiguous rows; the sizes of two parts differ by at most one.

    Args:
        shard: the part.
        total: number of rows of all parts.
    """

    shard: Shard
    total: int

    @property
    def wanted(self) -> range:
        """Numbers of the rows, from 0."""
        part, parts = self.shard.part, self.shard.parts
        return range((part - 1) * self.total // parts, part * self.total // parts)

    def record(self, ending: str) -> dict[str, Any]:
        """Return what `mbert join` needs to know about the output of this part.

        Args:
            ending: ending of its format; "" if there is no usual one.
        """
        return {"part": self.shard.part, "parts": self.shard.parts, "rows": self.total, "ending": ending}

    def check_count(self, done: int, name: str) -> None:
        """Check that all rows of the part were written.

        Args:
            done: number of rows that were written.
            name: the input, for the message.

        Raises:
            DataError: the input has fewer rows than when they were counted.
        """
        if done != len(self.wanted):
            raise DataError(f"{name}: changed while it was read; run the same command again.")

    def __str__(self) -> str:
        """Return the rows for messages."""
        rows = self.wanted
        place = (
            f"rows {rows.start + 1:,} to {rows.stop:,} of {self.total:,}" if rows else f"none of {self.total:,} rows"
        )
        return f"part {self.shard.part} of {self.shard.parts}: {place}"


def parse_shard(text: str | None, inputs: Sequence[str], output: str) -> Shard | None:
    """Return the part that `--shard` names; None without the option.

    Args:
        text: the value of the option, such as ``3/16``.
        inputs: the input files.
        output: the output.

    Raises:
        UsageError: the value is not a part, or parts of an input cannot be written or joined.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise UsageError(f"--shard is '{text}', but must be PART/PARTS; write 1/4 for the first of four parts.")
    part, parts = int(match[1]), int(match[2])
    if not 1 <= part <= parts:
        counted = f"from 1 to {parts}" if parts else "from 1"
        remedy = f"{min(max(1, part), parts)}/{parts}" if parts else "1/1"
        raise UsageError(f"--shard is '{text}', but parts are counted {counted}; write {remedy}.")
    for name in inputs:
        if name == "-" or (os.path.exists(name) and not os.path.isfile(name)) or name.startswith(PREFIX):
            what = "standard input" if name == "-" else name
            raise UsageError(f"{what}: --shard reads the input twice, first to count its rows; save it as a file.")
    if output == "-":
        raise UsageError("--shard writes a journal beside its output, which `mbert join` reads; name a file with -o.")
    return Shard(part, parts)
