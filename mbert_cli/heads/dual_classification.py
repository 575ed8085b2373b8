"""Classification of sentence pairs into two classes; a pair is read as two sequences and as one."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.data.labels import ClassNames
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.heads import BinaryHead
from mbert_cli.heads.classification import Gamma, Smoothing
from mbert_cli.heads.pair_classification import PairClassification, Weight


class DualClassification(BinaryHead):
    """Siamese classifier and cross-encoder together: sigmoid of the mean of their logits.

    The Siamese logit is W [u, v, |u - v|] + b for the vectors u and v of the two sentences; see `PairClassification`.
    The cross-encoder logit is w . x + c for the vector x of both sentences as one sequence. The loss is the mean of the
    two cross-entropies, so each part learns the task by itself. The parts make different errors, and their mean makes
    fewer. The encoder reads each example twice.

    Args:
        hidden_size: number of features of a sentence vector.
        labels: names of the negative and the positive class in the data, by default `0` and `1`. `{0: no, 1: yes}`
            renames them: the data contains 0 and 1, predictions show no and yes.
        dropout: probability of dropping a feature of [u, v, |u - v|] and of x in training.
        positive_weight: weight of a positive example in the loss; see `PairClassification`.
        label_smoothing: epsilon of label smoothing in training; see `PairClassification`.
        focal: gamma of the focal loss in training; see `PairClassification`.

    Raises:
        OptionError: there are not exactly two distinct labels, or both label_smoothing and focal are given.
    """

    sides = ("first", "second", "whole")

    def __init__(
        self,
        hidden_size: int,
        *,
        labels: ClassNames = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        positive_weight: Weight = 1.0,
        label_smoothing: Smoothing = 0.0,
        focal: Gamma = None,
    ) -> None:
        super().__init__(self.labels_from(labels))
        self.apart = PairClassification(
            hidden_size,
            labels=labels,
            dropout=dropout,
            positive_weight=positive_weight,
            label_smoothing=label_smoothing,
            focal=focal,
        )
        self.joined = nn.Sequential(Dropout(dropout), nn.Linear(hidden_size, 1))

    def forward(
        self,
        u: Float[Tensor, "examples hidden"],
        v: Float[Tensor, "examples hidden"],
        x: Float[Tensor, "examples hidden"],
    ) -> Float[Tensor, "examples 2"]:
        """Return two logits of the positive class: Siamese, and cross-encoder."""
        return torch.stack([self.apart(u, v), self.joined(x).squeeze(-1)], -1)

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Set the positive weight if it is `balanced`."""
        self.apart.observe(labels)

    def loss(self, outputs: Float[Tensor, "examples 2"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean of the two binary cross-entropies."""
        return self.apart.loss(outputs.flatten(), labels.repeat_interleave(2))

    def training_loss(
        self, outputs: Float[Tensor, "examples 2"], labels: Float[Tensor, " examples"]
    ) -> Float[Tensor, ""]:
        """Return the mean of the two losses with label smoothing, or of the two focal losses."""
        return self.apart.training_loss(outputs.flatten(), labels.repeat_interleave(2))

    def logits(self, outputs: Float[Tensor, "examples 2"]) -> Float[Tensor, "examples classes"]:
        """Return 0 and the mean of the two logits."""
        return self.apart.logits(outputs.mean(-1))
