"""Matrix products in bf16, also on CPUs without instructions for them.

PyTorch's own loops for these CPUs are up to a hundred times slower than products in fp32. So the factors are widened to
fp32, and the product is rounded to bf16. Instructions for bf16 also sum up in fp32 and round once.
"""

from functools import cache

import torch
from torch import Tensor, nn

from mbert_cli.encoder.kernels import working_dtype


@cache
def _are_fast() -> bool:
    """Return whether oneDNN computes products in bf16 on this CPU; some builds of PyTorch lack oneDNN."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def are_slow(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether products in a data type should be computed in fp32 on a device."""
    return dtype == torch.bfloat16 and device.type == "cpu" and not _are_fast()


def mm(x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write the product of two matrices of the same data type to `out`, in that data type; return `out`."""
    if not are_slow(x.device, x.dtype):
        return torch.mm(x, y, out=out)
    with _without_autocast():
        return out.copy_(torch.mm(x.float(), y.float()))


def addmm(bias: Tensor, x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write bias + x y to `out`; see `mm`."""
    if not are_slow(x.device, x.dtype):
        return torch.addmm(bias, x, y, out=out)
    with _without_autocast():
        return out.copy_(torch.addmm(bias.float(), x.float(), y.float()))


def grouped_mm(x: Tensor, y: Tensor, ends: Tensor) -> Tensor:
    """Return the products of groups; see `torch._grouped_mm`."""
    if not are_slow(x.device, x.dtype):
        return torch._grouped_mm(x, y, ends)
    with _without_autocast():
        return torch._grouped_mm(x.float(), y.float(), ends).to(x.dtype)


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Return the product of the last two axes of two tensors, in the data type of the computation."""
    dtype = working_dtype(x)
    if not are_slow(x.device, dtype):
        return x @ y
    with _without_autocast():
        return (_rounded(x) @ _rounded(y)).to(dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b, in the data type of the computation."""
    dtype = working_dtype(x)
    if not are_slow(x.device, dtype):
        return nn.functional.linear(x, weight, bias)
    with _without_autocast():
        product = nn.functional.linear(_rounded(x), _rounded(weight), None if bias is None else _rounded(bias))
        return product.to(dtype)


def _rounded(x: Tensor) -> Tensor:
    """Return values rounded to bf16, in fp32."""
    return x.bfloat16().float()


def _without_autocast() -> torch.autocast:
    return torch.autocast("cpu", enabled=False)
