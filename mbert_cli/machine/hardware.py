"""The hardware of a command: device, precision and kernels."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mbert_cli.encoder import kernels as kernel_modules
from mbert_cli.encoder.kernels import forks
from mbert_cli.encoder.kernels.int8 import has_fast_products
from mbert_cli.errors import UsageError


@dataclass(frozen=True)
class Hardware:
    """Device, precision and kernels of a computation.

    Args:
        device: device of the model.
        dtype: type of matrix products in the encoder and the adapters. Parameters, losses and heads are fp32.
        kernels: `torch` or `fused`; see `encoder.kernels`.
        int8: whether the linear layers of the encoder compute in int8. Then `dtype` is the type of all other products.
    """

    device: torch.device
    dtype: torch.dtype
    kernels: str = "torch"
    int8: bool = False

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `int8`."""
        if self.int8:
            return "int8"
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @property
    def threads(self) -> int:
        """Number of CPU threads of PyTorch."""
        return torch.get_num_threads()

    def facts(self) -> dict[str, str | int]:
        """Return everything about the hardware that affects the bytes of a result."""
        facts: dict[str, str | int] = {
            "device": self.device.type,
            "precision": self.precision if not self.int8 else f"int8 and {str(self.dtype).removeprefix('torch.')}",
            "kernels": self.kernels,
        }
        if self.device.type == "cpu":
            return {**facts, "instructions": torch.backends.cpu.get_cpu_capability(), "threads": self.threads}
        return {**facts, "instructions": torch.cuda.get_device_name(self.device)}


def choose(device: str = "auto", precision: str = "auto", kernels: str = "auto", prediction: bool = False) -> Hardware:
    """Choose device, precision and kernels.

    Args:
        device: `auto` (CUDA if available), `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (bf16 if the device has instructions for it), `fp32`, `bf16`, or in prediction `int8`.
        kernels: `auto` (fused if available), `torch` or `fused`.
        prediction: whether the model only predicts; then `int8` is allowed.

    Raises:
        UsageError: the device does not exist, its kernels are not available, or a name is unknown.
    """
    check_names(precision, kernels, prediction)
    forks.note_threads()
    chosen = _device(device)
    problem = kernel_modules.why_not_fused(chosen)
    if kernels == "fused" and problem:
        raise UsageError(f"--kernels is 'fused', but {problem}; use --kernels auto.")
    int8_problem = why_not_int8(chosen, kernels) if precision == "int8" else None
    if int8_problem:
        raise UsageError(f"--precision is 'int8', but {int8_problem}; use --precision auto.")
    bf16 = precision == "bf16" or (precision in ("auto", "int8") and computes_in_bf16(chosen))
    fused = problem is None if kernels == "auto" else kernels == "fused"
    dtype = torch.bfloat16 if bf16 else torch.float32
    return Hardware(chosen, dtype, "fused" if fused else "torch", precision == "int8")


def check_names(precision: str, kernels: str, prediction: bool = False) -> None:
    """Check the names of a precision and of kernels, whether or not this machine has them.

    Raises:
        UsageError: a name is unknown, or the precision is `int8` although `prediction` is False.
    """
    if precision == "int8" and not prediction:
        raise UsageError("--precision is 'int8', which is for predictions only; train with --precision auto.")
    if precision not in ("auto", "fp32", "bf16", "int8"):
        known = "auto, fp32, bf16" + ", int8" * prediction
        raise UsageError(f"--precision is '{precision}'. Known: {known}.")
    if kernels not in ("auto", *kernel_modules.NAMES):
        raise UsageError(f"--kernels is '{kernels}'. Known: auto, {', '.join(kernel_modules.NAMES)}.")


def gpu_in_turn(device: str, slot: int) -> str:
    """Return the device of one of several processes that run at the same time.

    Args:
        device: `auto` or `cuda`, so that the processes use all GPUs of this machine in turn. Another device stays.
        slot: number of the process, from 0.
    """
    is_open = device in ("auto", "cuda") and torch.cuda.is_available()
    count = torch.cuda.device_count() if is_open else 0
    return f"cuda:{slot % count}" if count > 1 else device


def make_reproducible(device: torch.device) -> None:
    """Make a GPU the current one, and make it add in the same order every time, so that training can be repeated.

    A CPU always does. Call this before the first matrix product of the process. An operation that cannot be
    deterministic then raises an error; mbert uses none. With `warn_only`, attention would not be deterministic.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # Filling new memory only helps to find errors.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def reproducibility_restored() -> Iterator[None]:
    """Restore PyTorch's own settings at the end of a block that calls `make_reproducible`, in a program of a user."""
    before = torch.are_deterministic_algorithms_enabled()
    memory = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = memory  # type: ignore[attr-defined]


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Set PyTorch's number of CPU threads while the block runs; None changes nothing.

    PyTorch, MKL and oneDNN split sums among threads, so the number of threads changes the last bits of a result. This
    affects all kernels and precisions, but not all shapes. Between 1 and 2 threads, the gradients of a head with five
    classes and of LayerNorm differed, and so did 94 of 690 fp32 matrix products of other shapes.
    """
    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computes_in_bf16(device: torch.device) -> bool:
    """Return whether a device has instructions for bf16 matrix products; on a CPU, AMX or AVX512-BF16."""
    if device.type == "cuda":
        # `torch.cuda.is_bf16_supported` looks at the current device, which may be another one.
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def why_not_int8(device: torch.device, kernels: str = "auto") -> str | None:
    """Return the reason why a device does not compute in int8; None if it does.

    Without AVX512-VNNI or AMX, PyTorch's int8 products take longer than products in fp32. The int8 products of the
    fused kernels need only AVX2.

    Args:
        device: the device.
        kernels: `auto`, `torch` or `fused`.
    """
    if device.type != "cpu":
        return f"int8 products run on CPUs only, and the device is {device.type}"
    if has_fast_products():
        return None
    if not torch.cpu._is_avx2_supported():
        return "this processor has no instructions for int8 products (AVX2, AVX512-VNNI or AMX)"
    needs = "without AVX512-VNNI or AMX, int8 needs the fused kernels"
    if kernels == "torch":
        return f"{needs}, and --kernels is 'torch'"
    problem = kernel_modules.why_not_fused(device)
    return f"{needs}; {problem}" if problem else None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and index.isdigit())):
        raise UsageError(f"--device is '{name}'. Known: auto, cpu, cuda, cuda:N.")
    if kind == "cuda":
        count = torch.cuda.device_count()
        if int(index or 0) >= count:
            available = f"there are only {count} CUDA devices" if count > 1 else "there is only cuda:0"
            problem = available if count else "PyTorch finds no CUDA device"
            raise UsageError(f"--device is '{name}', but {problem}; use --device cpu or auto.")
    return torch.device(name)
