"""`mbert info`."""

from typing import Annotated

import typer

from mbert_cli.commands.options import AsJson, Quiet, tell_of_compiling
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError
from mbert_cli.progress import Talk


def info(
    as_json: AsJson = False,
    warm_up: Annotated[
        bool, typer.Option("--warm-up", help="Compile the fused kernels now, not at the first training.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Print versions, devices, the precision and the kernels in use.

    $ mbert info
    $ mbert info --warm-up
    """
    from mbert_cli.terminal import key_values
    from mbert_cli.versions import facts

    found = facts()
    if warm_up:
        if found["kernels"] != "fused":
            raise UsageError(f"--warm-up: {found['kernels']}.")
        tell_of_compiling(Talk(quiet))

        from mbert_cli.warm_up import compile_kernels

        compile_kernels()
    print_json(found) if as_json else print_tables([key_values(found)])
