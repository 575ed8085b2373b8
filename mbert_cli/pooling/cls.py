"""CLS pooling."""

from jaxtyping import Bool, Float
from torch import Tensor

from mbert_cli.batch import Layout
from mbert_cli.pooling import Pooling


class Cls(Pooling):
    """The hidden state of a sentence's first token, [CLS], stands for the sentence.

    Source: Multi-BERT paper, "Pooling Strategies".

    Args:
        pooler: follow with the encoder's own tanh(W x + b), as the CS224N starter does.
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
