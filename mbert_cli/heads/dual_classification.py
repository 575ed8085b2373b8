"""Classification of sentence pairs in two classes, read apart and as one sequence."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.data.labels import ClassLabels
from mbert_cli.heads import ClassHead, Columns
from mbert_cli.heads.pair_classification import PairClassification, Weight


class DualClassification(ClassHead):
    """Siamese classifier and cross-encoder side by side: sigmoid of the mean of their logits.

    The Siamese part is W [u, v, |u - v|] + b of both sentences read apart, see `PairClassification`; the cross-encoder
    w . x + c of the vector x of both in one sequence. Each part is trained on its own, by the mean of the two
    cross-entropies: so they err differently, and their mean errs less. The encoder reads an example twice.

    Args:
        hidden_size: features of a sentence vector.
        labels: names of the negative and the positive class in the data, `0` and `1` by default; `{0: no, 1: yes}`
            renames them: the data holds 0 and 1, predictions show no and yes.
        dropout: probability of dropping a feature in training, of [u, v, |u - v|] and of x.
        positive_weight: how much a positive example weighs in the loss; see `PairClassification`.

    Raises:
        OptionError: there are not two distinct labels.
    """

    sides = ("first", "second", "whole")
    positive = 1

    def __init__(
        self,
        hidden_size: int,
        *,
        labels: ClassLabels = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        positive_weight: Weight = 1.0,
    ) -> None:
        apart = PairClassification(hidden_size, labels=labels, dropout=dropout, positive_weight=positive_weight)
        super().__init__(["0", "1"] if labels is None else labels)
        self.apart = apart
        self.joined = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden_size, 1))

    def forward(
        self,
        u: Float[Tensor, "examples hidden"],
        v: Float[Tensor, "examples hidden"],
        x: Float[Tensor, "examples hidden"],
    ) -> Float[Tensor, "examples 2"]:
        """Return the logits of the positive class: the Siamese one, and the cross-encoder's."""
        return torch.stack([self.apart(u, v), self.joined(x).squeeze(-1)], -1)

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Weigh the positive class, where it is to be balanced."""
        self.apart.observe(labels)

    def loss(self, outputs: Float[Tensor, "examples 2"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean of both parts' binary cross-entropies."""
        return self.apart.loss(outputs.flatten(), labels.repeat_interleave(2))

    def logits(self, outputs: Float[Tensor, "examples 2"]) -> Float[Tensor, "examples classes"]:
        """Return 0 and the mean of the two logits."""
        return self.apart.logits(outputs.mean(-1))

    def predict(self, outputs: Float[Tensor, "examples 2"]) -> Columns:
        """Return `pred`, and `score`, the probability of the positive class."""
        return self.scored(outputs)
