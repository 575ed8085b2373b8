"""CLS pooling."""

from jaxtyping import Bool, Float
from torch import Tensor

from mbert_cli.batch import Layout
from mbert_cli.pooling import Pooling


class CLS(Pooling):
    """The hidden state of the first token of each sentence, [CLS].

    Source: Multi-BERT paper, "Pooling Strategies".

    Args:
        pooler: apply the encoder's pooler tanh(W x + b) afterwards, as the CS224N starter code does.
    """

    def __init__(self, *, pooler: bool = False) -> None:
        super().__init__()
        self.pooler = pooler

    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return the hidden state of [CLS] of every sentence."""
        return x.index_select(0, layout.first_tokens)

    def padded(
        self, x: Float[Tensor, "sentences width hidden"], mask: Bool[Tensor, "sentences width"]
    ) -> Float[Tensor, "sentences hidden"]:
        """Return the hidden state of [CLS] of every sentence."""
        return x[:, 0]
