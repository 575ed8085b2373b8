"""Max pooling."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mbert_cli.batch import Layout
from mbert_cli.pooling import Pooling


class Max(Pooling):
    """The maximum of each feature over the tokens of a sentence, excluding padding.

    Source: Multi-BERT paper, "Pooling Strategies".
    """

    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return the maximum of each feature over every sentence."""
        # `unsafe` skips a check of the lengths, for which the CPU would wait for a GPU.
        return torch.segment_reduce(x, "max", lengths=layout.lengths, axis=0, unsafe=True)

    def padded(
        self, x: Float[Tensor, "sentences width hidden"], mask: Bool[Tensor, "sentences width"]
    ) -> Float[Tensor, "sentences hidden"]:
        """Return the maximum of each feature over every sentence."""
        return x.masked_fill(~mask[:, :, None], float("-inf")).amax(1)
