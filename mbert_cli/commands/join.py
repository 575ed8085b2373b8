"""`mbert join`."""

from pathlib import Path
from typing import Annotated

import typer

from mbert_cli.commands.options import Force, Quiet
from mbert_cli.terminal.console import Console


def join(
    parts: Annotated[
        list[Path],
        typer.Argument(metavar="PART...", help="All parts of one prediction, in any order; or folders of parts."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="The output file, in the format of the parts; or a folder."),
    ],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Join parts that predict --shard or embed --shard wrote.

    $ mbert join part-*.tsv -o whole.tsv
    $ mbert join part-*/ -o whole

    The output is byte-for-byte the file that one process writes without --shard. For .gz it is the same text, and for
    .parquet the same table; their blocks may differ. Each part needs its journal, a hidden folder beside it. mbert join
    rejects parts that are missing, given twice, not finished, altered, or of another input, model or option.
    """
    from mbert_cli.prediction.join_parts import join_parts

    console = Console(quiet)
    join_parts(parts, output, force, console.info)
