"""Mean pooling."""

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.batch import Layout
from mbert_cli.pooling import Pooling


class Mean(Pooling):
    """The mean over a sentence's own tokens, [CLS] and [SEP] included, padding never.

    Source: Multi-BERT paper, "Pooling Strategies"; Reimers & Gurevych 2019.
    """

    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return the mean of every sentence's hidden states."""
        return torch.segment_reduce(x, "mean", lengths=layout.lengths, axis=0)
