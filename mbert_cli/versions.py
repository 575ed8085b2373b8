"""Versions, and all else that `mbert info` tells."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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


# Those that the bytes of a result follow from.
_COMPUTING = ("mbert-cli", "torch", "numba")


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute."""
    return {name: _version(name) for name in _COMPUTING}


def facts() -> dict[str, Any]:
    """Return versions, devices and the precision in use."""
    import torch

    from mbert_cli.encoder.kernels import why_not_fused
    from mbert_cli.hardware import choose
    from mbert_cli.shipped_recipes import shipped_folder

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


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
