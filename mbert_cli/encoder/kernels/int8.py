"""Linear layers in int8: weights with a scale for each output feature, inputs with a scale for each token.

W[j, k] = w[j, k] * s_j with integers w from -127 to 127 and s_j = max_k |W[j, k]| / 127. A row x becomes integers in
the same way; its scale is max |x| / 127. Sums of products of integers are exact, in int32. So the output of a token
does not depend on the other tokens of the batch.

Source: Yao et al. 2022, "ZeroQuant", section 4.1 (scales per row of the weights and per token).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int8, Int32
from torch import Tensor, nn

from mbert_cli.encoder.kernels import working_dtype
from mbert_cli.encoder.kernels.memory import empty_rows

MOST = 127
"""The largest absolute value of quantised weights and rows; -128 is not used."""
_EXACT = 1024  # a sum in fp32 of up to 1024 products of two int8 numbers is exact, because 1024 * MOST^2 < 2^24
_ROWS = "_int8_rows"


@dataclass(frozen=True)
class Rows:
    """Quantised rows: values[t] * scales[t].

    Args:
        values: the integers.
        scales: the scale of each row.
    """

    values: Int8[Tensor, "tokens features"]
    scales: Float[Tensor, " tokens"]


def quantised(x: Float[Tensor, "tokens features"]) -> Rows:
    """Quantise rows. The scale of a row of zeros is 0. The scale of a row with NaN or infinity is NaN or infinite."""
    x = x.float()
    most = x.abs().amax(-1)
    factor = torch.where(most == 0, most, MOST / most)
    values = (x * factor[:, None]).round().nan_to_num(0, MOST, -MOST).to(torch.int8)
    return Rows(values, most / MOST)


def keep_rows(y: Float[Tensor, "tokens features"], rows: Rows) -> Float[Tensor, "tokens features"]:
    """Attach the quantised rows of a tensor to it; return the tensor.

    The results of operations on the tensor do not have these rows. Do not write to the tensor.
    """
    setattr(y, _ROWS, rows)
    return y


def kept_rows(x: Float[Tensor, "tokens features"]) -> Rows | None:
    """Return the quantised rows that are attached to a tensor; None if there are none."""
    return getattr(x, _ROWS, None)


class Int8Linear(nn.Linear):
    """A linear layer in int8, for prediction only. It replaces an `nn.Linear`.

    Args:
        weight: the quantised weight.
        scales: the scale of each output feature.
        bias: the bias, in fp32; None if there is none.
    """

    def __init__(
        self, weight: Int8[Tensor, "out in"], scales: Float[Tensor, " out"], bias: Float[Tensor, " out"] | None
    ) -> None:
        nn.Module.__init__(self)  # nn.Linear would draw values
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))

    @cached_property
    def packed(self) -> np.ndarray:
        """The weight in the order in which the compiled products read it."""
        from mbert_cli.encoder.kernels.int8_tile import packed  # needs Numba

        return packed(self.weight)

    @classmethod
    def of(cls, linear: nn.Linear) -> "Int8Linear":
        """Quantise a linear layer."""
        rows = quantised(linear.weight.detach())
        return cls(rows.values, rows.scales, None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Float[Tensor, "tokens in"]) -> Float[Tensor, "tokens out"]:
        """Return W x + b, in the data type of the computation."""
        rows = kept_rows(x) or quantised(x)
        y = integer_product(rows, self).float() * rows.scales[:, None] * self.scales
        y = y if self.bias is None else y + self.bias
        return y.to(working_dtype(x))


class Int8Norm(nn.LayerNorm):
    """A LayerNorm whose outputs are the inputs of int8 products, so that kernels may quantise them in the same pass."""

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> "Int8Norm":
        """Return the same LayerNorm, with the same parameters."""
        new = cls(norm.normalized_shape, norm.eps, device="meta", bias=norm.bias is not None)
        new.weight, new.bias = norm.weight, norm.bias
        return new.train(norm.training)


def has_fast_products() -> bool:
    """Return whether PyTorch's int8 products are fast: oneDNN computes them with AVX512-VNNI or AMX."""
    return torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()


def integer_product(rows: Rows, layer: Int8Linear) -> Int32[Tensor, "tokens out"]:
    """Return the product of the integers of rows and of a layer's weight."""
    x, weight = rows.values, layer.weight
    out = empty_rows(x, layer.out_features, torch.int32)
    if has_fast_products():
        return torch._int_mm(x, weight.t(), out=out)
    # On other processors, PyTorch's int8 products take twenty times as long as these.
    sums = empty_rows(x, layer.out_features, torch.float32)
    out.zero_()
    for start in range(0, layer.in_features, _EXACT):
        part = slice(start, start + _EXACT)
        torch.mm(x[:, part].float(), weight[:, part].float().t(), out=sums)  # without `out`, autocast would use bf16
        out += sums.int()
    return out
