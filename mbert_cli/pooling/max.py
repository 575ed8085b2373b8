"""Max pooling."""

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.batch import Layout
from mbert_cli.pooling import Pooling


class Max(Pooling):
    """The largest value of each feature over a sentence's own tokens, padding never.

    Source: Multi-BERT paper, "Pooling Strategies".
    """

    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return the maximum of every sentence's hidden states, feature by feature."""
        return torch.segment_reduce(x, "max", lengths=layout.lengths, axis=0)
