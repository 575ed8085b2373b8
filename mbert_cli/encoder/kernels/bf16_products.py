"""Matrix products in bf16, also on CPUs without instructions for them.

PyTorch's own loops for these CPUs are up to a hundred times slower than products in fp32. So the factors are widened to
fp32, and the product is rounded to bf16. Instructions for bf16 also sum up in fp32 and round once.
"""

from functools import cache

import torch
from torch import Tensor


@cache
def _are_fast() -> bool:
    """Return whether oneDNN computes products in bf16 on this CPU."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def are_slow(x: Tensor) -> bool:
    """Return whether products with x should be computed in fp32: x is in bf16, on a CPU without fast bf16 products."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not _are_fast()


def mm(x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write the product of two matrices of the same data type to `out`, in that data type; return `out`."""
    return out.copy_(torch.mm(x.float(), y.float())) if are_slow(x) else torch.mm(x, y, out=out)


def addmm(bias: Tensor, x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """Write bias + x y to `out`; see `mm`."""
    if are_slow(x):
        return out.copy_(torch.addmm(bias.float(), x.float(), y.float()))
    return torch.addmm(bias, x, y, out=out)


def grouped_mm(x: Tensor, y: Tensor, ends: Tensor) -> Tensor:
    """Return the products of groups; see `torch._grouped_mm`."""
    if are_slow(x):
        return torch._grouped_mm(x.float(), y.float(), ends).to(x.dtype)
    return torch._grouped_mm(x, y, ends)


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Return the product of the last two axes of two tensors of the same data type, in that data type."""
    return (x.float() @ y.float()).to(x.dtype) if are_slow(x) else x @ y
