"""The kernels, precisions and features that mbert uses on each device, and why it does not use others."""

import torch

from mbert_cli.encoder.kernels import why_not_fused
from mbert_cli.machine.cuda_graph import why_not_on
from mbert_cli.machine.hardware import choose, computes_in_bf16, why_not_int8

_FLASH = "in bf16 and without dropout"


def devices() -> list[torch.device]:
    """Return the devices that PyTorch finds: the CPU, then the GPUs."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cpu"), *(torch.device("cuda", number) for number in range(count))]


def device_facts(device: torch.device) -> dict[str, str]:
    """Return the kernels, the precisions, and the use of dropout, FlashAttention and CUDA graphs on a device."""
    problem = why_not_fused(device)
    return {
        "kernels": kernels_text(device, f"fused ({_compiler(device)})"),
        "precision": _precision(device),
        "int8": why_not_int8(device) or "for predictions with --precision int8",
        "dropout": "keyed: the masks are the same on every device and with all kernels",
        "flash attention": _flash_attention(device, fused=problem is None),
        "graphs": _graphs(device, fused=problem is None),
    }


def kernels_text(device: torch.device, fused: str) -> str:
    """Return `fused` if the fused kernels are available on a device; otherwise a text with the reason why not."""
    problem = why_not_fused(device)
    return f"torch; fused kernels are not available: {problem}" if problem else fused


def _compiler(device: torch.device) -> str:
    return "Numba" if device.type == "cpu" else "Triton"


def _precision(device: torch.device) -> str:
    precision = choose(str(device)).precision
    if computes_in_bf16(device):
        return precision
    needs = "AMX or AVX512-BF16" if device.type == "cpu" else "compute capability 8.0 or higher"
    return f"{precision}; bf16 needs {needs}"


def _flash_attention(device: torch.device, fused: bool) -> str:
    """Return when PyTorch's FlashAttention computes attention."""
    if device.type == "cpu":
        return "not used: it runs on GPUs only"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "not used: it needs compute capability 8.0 or higher"
    if fused:
        return f"{_FLASH}, where the fused kernels do not compute attention: rotary positions, heads above 64 features"
    return f"{_FLASH}; with dropout, attention is computed by PyTorch's other operations"


def _graphs(device: torch.device, fused: bool) -> str:
    """Return what is captured as CUDA graphs; see also `training.why_no_graphs` and `prediction.forward_graphs`."""
    problem = why_not_on(device, "fused" if fused else "torch")
    return (
        f"not used: {problem}"
        if problem
        else "used for training steps and small batches of predictions whose shapes occur again; see `mbert guide gpu`"
    )
