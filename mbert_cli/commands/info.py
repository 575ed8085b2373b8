"""`mbert info`."""

import os
import platform
from typing import Annotated, Any

import typer

from mbert_cli.commands.options import AsJson, Quiet
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError
from mbert_cli.machine.versions import _version
from mbert_cli.terminal.console import Console


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
    from mbert_cli.terminal.tables import key_values

    found = facts()
    if warm_up:
        if found["kernels"] != "fused":
            raise UsageError(f"--warm-up: {found['kernels']}.")
        Console(quiet).show_log()

        from mbert_cli.machine.warm_up import compile_kernels

        compile_kernels()
    print_json(found) if as_json else print_tables([key_values(found)])


_PACKAGES = (
    "mbert-cli",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface-hub",
    "pydantic",
    "numpy",
    "numba",
)


def facts() -> dict[str, Any]:
    """Return versions, devices and the precision in use."""
    import torch

    from mbert_cli.encoder.kernels import why_not_fused
    from mbert_cli.machine.hardware import choose
    from mbert_cli.recipe.shipped import shipped_folder

    hardware = choose()
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    found |= {name: _version(name) for name in _PACKAGES}
    found["cpu"] = (
        f"{torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
    found["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or "none"
    found["device"] = str(hardware.device)
    found["precision"] = hardware.precision
    problem = why_not_fused(hardware.device)
    found["kernels"] = f"torch; no fused ones: {problem}" if problem else hardware.kernels
    found["recipes"] = str(shipped_folder())
    return found
