"""The facts about this machine and installation that `mbert info` prints."""

import os
import platform
from typing import Any

import torch

from mbert_cli.machine.device_facts import device_facts, devices, kernels_text
from mbert_cli.machine.hardware import choose
from mbert_cli.machine.versions import version_of
from mbert_cli.recipe.shipped import shipped_folder

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
    "triton",
)


def facts() -> dict[str, Any]:
    """Return versions, devices, and the precision and kernels that are used by default, also for each device."""
    hardware = choose()
    cpu = f"{torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: version_of(name) for name in _PACKAGES},
        "cpu": cpu,
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or "none",
        "device": str(hardware.device),
        "precision": hardware.precision,
        "kernels": kernels_text(hardware.device, hardware.kernels),
        "recipes": str(shipped_folder()),
        "devices": {str(device): device_facts(device) for device in devices()},
    }


def as_rows(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts as rows of a table; the facts of a device have names such as `cpu: kernels`."""
    rows = {name: value for name, value in facts.items() if name != "devices"}
    for device, of_device in facts.get("devices", {}).items():
        rows |= {f"{device}: {name}": value for name, value in of_device.items()}
    return rows
