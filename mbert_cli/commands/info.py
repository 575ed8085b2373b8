"""`mbert info`."""

from typing import Annotated

import typer

from mbert_cli.commands.options import AsJson, Quiet
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError
from mbert_cli.terminal.console import Console


def info(
    as_json: AsJson = False,
    warm_up: Annotated[
        bool, typer.Option("--warm-up", help="Compile the fused kernels now, not during the first training run.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Print versions and devices, and the default precision and kernels.

    $ mbert info
    $ mbert info --warm-up
    """
    from mbert_cli.machine.facts import facts
    from mbert_cli.terminal.tables import key_values

    values = facts()
    if warm_up:
        if values["kernels"] != "fused":
            raise UsageError(f"--warm-up: kernels are {values['kernels']}.")
        Console(quiet).show_log()

        from mbert_cli.machine.warm_up import compile_kernels

        compile_kernels()
    print_json(values) if as_json else print_tables([key_values(values)])
