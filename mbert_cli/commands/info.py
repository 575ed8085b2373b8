"""`mbert info`."""

from typing import Annotated, Any

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
    """Print versions and devices, and what each device uses by default: kernels, precision, and so on.

    $ mbert info
    $ mbert info --warm-up
    """
    from mbert_cli.machine.facts import as_rows, facts
    from mbert_cli.terminal.tables import key_values

    values = facts()
    if warm_up:
        if not values["kernels"].startswith("fused"):
            raise UsageError(f"--warm-up: kernels are {values['kernels']}.")
        Console(quiet).show_log()
        _compile(values)
    print_json(values) if as_json else print_tables([key_values(as_rows(values))])


def _compile(values: dict[str, Any]) -> None:
    """Compile the kernels of the CPU, and of the GPU that is used by default."""
    if values["devices"]["cpu"]["kernels"].startswith("fused"):
        from mbert_cli.machine.warm_up import compile_kernels

        compile_kernels()
    if values["device"] != "cpu":
        import torch

        from mbert_cli.machine.warm_up_gpu import compile_for

        compile_for(torch.device(values["device"]))
