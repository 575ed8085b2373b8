"""Mean pooling."""

from jaxtyping import Bool, Float
from torch import Tensor

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.pooling import Pooling


class Mean(Pooling):
    """The mean over the tokens of a sentence, including [CLS] and [SEP], excluding padding.

    Source: Multi-BERT paper, "Pooling Strategies"; Reimers & Gurevych 2019.
    """

    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return the mean of every sentence's hidden states, in at least fp32."""
        means: Tensor = kernels.current().mean(x, layout)
        return means

    def padded(
        self, x: Float[Tensor, "sentences width hidden"], mask: Bool[Tensor, "sentences width"]
    ) -> Float[Tensor, "sentences hidden"]:
        """Return the mean of every sentence's hidden states."""
        weights = mask[:, :, None].to(x.dtype)
        return (x * weights).sum(1) / weights.sum(1)
