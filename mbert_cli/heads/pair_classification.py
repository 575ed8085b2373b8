"""Classification of sentence pairs in two classes."""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from mbert_cli.data.labels import ClassLabels
from mbert_cli.errors import OptionError
from mbert_cli.heads import ClassHead, Columns, PositiveNumber, balanced_weights, is_weight


def _weight(value: Any) -> str | float:
    if value == "balanced":
        return "balanced"
    if is_weight(value):
        return float(value)
    raise ValueError("must be balanced, or a positive number")


Weight = Annotated[str | float, PlainValidator(_weight, json_schema_input_type=Literal["balanced"] | PositiveNumber)]
"""What a positive example weighs: a number, or `balanced`."""


class PairClassification(ClassHead):
    """Siamese pair classifier: sigmoid(W [u, v, |u - v|] + b), binary cross-entropy; see `decisions` for the threshold.

    The loss is the mean over a batch of -(w y log p + (1 - y) log(1 - p)), w the positive weight, as PyTorch's.

    Source: Multi-BERT paper, Figure 1; Reimers & Gurevych 2019. The paper's threshold is .5.

    Args:
        hidden_size: features of a sentence vector.
        labels: names of the negative and the positive class in the data, `0` and `1` by default; `{0: no, 1: yes}`
            renames them: the data holds 0 and 1, predictions show no and yes.
        dropout: probability of dropping a feature of [u, v, |u - v|] in training; the paper has none.
        positive_weight: how much a positive example weighs in the loss, a negative one being 1; above 1 recall rises at
            the cost of precision. `balanced` is the number of negative over that of positive ones in the training file.

    Raises:
        OptionError: there are not two distinct labels.
    """

    sides = ("first", "second")
    positive = 1
    positive_weight: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        *,
        labels: ClassLabels = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        positive_weight: Weight = 1.0,
    ) -> None:
        super().__init__(["0", "1"] if labels is None else labels)
        if len(self.labels) != 2:
            raise OptionError("labels", f"must be two, the negative and the positive one, but are {len(self.labels)}")
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(3 * hidden_size, 1)
        self.balanced = positive_weight == "balanced"
        # A counted one is saved with the model: who evaluates it has no training labels to count.
        weight = 1.0 if isinstance(positive_weight, str) else positive_weight
        buffer = torch.tensor(weight) if self.balanced or weight != 1 else None
        self.register_buffer("positive_weight", buffer, persistent=self.balanced)

    def forward(
        self, u: Float[Tensor, "examples hidden"], v: Float[Tensor, "examples hidden"]
    ) -> Float[Tensor, " examples"]:
        """Return the logit of the positive class."""
        return self.linear(self.dropout(torch.cat([u, v, (u - v).abs()], -1))).squeeze(-1)

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Weigh the positive class, where it is to be balanced."""
        if self.balanced:
            negative, positive = balanced_weights(labels, 2)
            self.positive_weight = positive / negative

    def loss(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean binary cross-entropy, positive examples weighted if so chosen."""
        weight = None if self.positive_weight is None else self.positive_weight.to(outputs)
        return nn.functional.binary_cross_entropy_with_logits(outputs, labels, pos_weight=weight)

    def logits(self, outputs: Float[Tensor, " examples"]) -> Float[Tensor, "examples classes"]:
        """Return 0 and the output: their softmax is the output's sigmoid."""
        return torch.stack([torch.zeros_like(outputs), outputs], -1)

    def predict(self, outputs: Float[Tensor, " examples"]) -> Columns:
        """Return `pred`, and `score`, the probability of the positive class."""
        return self.scored(outputs)
