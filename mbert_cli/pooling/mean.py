"""Mean pooling."""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mbert_cli.batch import Layout
from mbert_cli.pooling import Pooling


class Mean(Pooling):
    """The mean over the tokens of a sentence, including [CLS] and [SEP], excluding padding.

    Source: Multi-BERT paper, "Pooling Strategies"; Reimers & Gurevych 2019.
    """

    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return the mean of every sentence's hidden states, in at least fp32."""
        return cast(Tensor, _Mean.apply(x, layout))

    def padded(
        self, x: Float[Tensor, "sentences width hidden"], mask: Bool[Tensor, "sentences width"]
    ) -> Float[Tensor, "sentences hidden"]:
        """Return the mean of every sentence's hidden states."""
        weights = mask[:, :, None].to(x.dtype)
        return (x * weights).sum(1) / weights.sum(1)


class _Mean(torch.autograd.Function):
    # PyTorch's built-in backward pass takes longer than everything else between the encoder and the losses.
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.layout, ctx.dtype = layout, x.dtype
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        # `unsafe` skips a check of the lengths, for which the CPU would wait for a GPU.
        return torch.segment_reduce(wide, "mean", lengths=layout.lengths, axis=0, unsafe=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        share = (gradients[0] / ctx.layout.lengths[:, None]).to(ctx.dtype)
        return share.index_select(0, ctx.layout.sentence_of_token), None
