"""What a command computes on: device, precision and kernels."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mbert_cli.encoder import kernels as seam
from mbert_cli.encoder.kernels import forks
from mbert_cli.errors import UsageError


@dataclass(frozen=True)
class Hardware:
    """What a command computes on.

    Args:
        device: where the model is.
        dtype: of the encoder's and adapters' matrix products; parameters, losses and heads are fp32.
        kernels: `torch` or `fused`; see `encoder.kernels`.
    """

    device: torch.device
    dtype: torch.dtype
    kernels: str = "torch"

    @property
    def precision(self) -> str:
        """`fp32` or `bf16`."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @property
    def threads(self) -> int:
        """How many threads a CPU computes with."""
        return torch.get_num_threads()

    def facts(self) -> dict[str, str | int]:
        """Return what the bytes of a result follow from."""
        cpu = self.device.type == "cpu"
        return {
            "device": self.device.type,
            "precision": self.precision,
            "kernels": self.kernels,
            "instructions": (
                torch.backends.cpu.get_cpu_capability() if cpu else torch.cuda.get_device_name(self.device)
            ),
            "threads": self.threads,
        }


def choose(device: str = "auto", precision: str = "auto", kernels: str = "auto") -> Hardware:
    """Choose device, precision and kernels.

    Args:
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (bf16 where the device computes with it), `fp32` or `bf16`.
        kernels: `auto` (fused where they can be), `torch` or `fused`.

    Raises:
        UsageError: the device does not exist, it has no such kernels, or a word is unknown.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise UsageError(f"--precision is '{precision}'. Known: auto, fp32, bf16.")
    if kernels not in ("auto", *seam.NAMES):
        raise UsageError(f"--kernels is '{kernels}'. Known: auto, {', '.join(seam.NAMES)}.")
    forks.note_threads()
    chosen = _device(device)
    problem = seam.why_not_fused(chosen)
    if kernels == "fused" and problem:
        raise UsageError(f"--kernels is 'fused', but {problem}; use --kernels auto.")
    bf16 = precision == "bf16" or (precision == "auto" and computes_in_bf16(chosen))
    fused = problem is None if kernels == "auto" else kernels == "fused"
    return Hardware(chosen, torch.bfloat16 if bf16 else torch.float32, "fused" if fused else "torch")


def make_reproducible(device: torch.device) -> None:
    """Let a GPU do its additions in the same order every time, so that a training repeated is the same.

    A CPU does so anyway. To be asked before the first matrix product of the process. An operation that has no such
    order stops the training, and none of ours is such: with `warn_only` attention would add in any order.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # Memory that is filled before it is written to helps to find errors only.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Let a CPU compute with a number of threads within the block; None changes nothing.

    Sums of PyTorch, MKL and oneDNN are split among the threads, so that their number changes the last bits of a
    result: with every kernel, precision and number of threads, if not with every shape. Seen on 1 and 2 threads: the
    gradients of a head of five classes and of LayerNorm, and of 690 fp32 products of other shapes 94.
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
    """Whether a device has instructions for bf16 matrix products: AMX or AVX512-BF16 on a CPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and index.isdigit())):
        raise UsageError(f"--device is '{name}'. Known: auto, cpu, cuda, cuda:N.")
    if kind == "cuda":
        count = torch.cuda.device_count()
        if int(index or 0) >= count:
            have = f"there are only {count}" if count else "there is none that PyTorch can use"
            raise UsageError(f"--device is '{name}', but of CUDA devices {have}; use --device cpu or auto.")
    return torch.device(name)
