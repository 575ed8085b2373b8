"""Classification of sentence pairs into two classes."""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from mbert_cli.data.labels import ClassNames
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.heads import BinaryHead, PositiveNumber, is_weight
from mbert_cli.heads.classification import Gamma, Smoothing, balanced_weights, check_loss_options


def _weight(value: Any) -> str | float:
    if value == "balanced":
        return "balanced"
    if is_weight(value):
        return float(value)
    raise ValueError("must be balanced, or a positive number")


Weight = Annotated[str | float, PlainValidator(_weight, json_schema_input_type=Literal["balanced"] | PositiveNumber)]
"""Weight of a positive example: a number, or `balanced`."""


def binary_loss(
    logits: Float[Tensor, "*examples"],
    labels: Float[Tensor, "*examples"],
    positive_weight: Float[Tensor, "..."] | None,
    label_smoothing: float = 0.0,
    focal: float | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of -(w y (1 - p)^gamma log p + (1 - y) p^gamma log(1 - p)), with p = sigmoid(logit).

    Label smoothing replaces a label y by (1 - epsilon) y + epsilon / 2: the formula of `Classification` for two
    classes. Source: Szegedy et al. 2016, section 7. The focal loss has gamma above 0. Source: Lin et al. 2017, equation
    5; their alpha is the positive weight w.

    Args:
        logits: logits of the positive class.
        labels: 1 for a positive example, 0 for a negative one, or a probability.
        positive_weight: w; 1 if None.
        label_smoothing: epsilon.
        focal: gamma; 0 if None.
    """
    if label_smoothing:
        labels = (1 - label_smoothing) * labels + label_smoothing / 2
    if focal is None:
        weight = None if positive_weight is None else positive_weight.to(logits)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight)
    log_p, log_rest = nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
    of_positive = labels * (focal * log_rest).exp() * log_p
    of_negative = (1 - labels) * (focal * log_p).exp() * log_rest
    return -(
        (of_positive if positive_weight is None else positive_weight.to(logits) * of_positive) + of_negative
    ).mean()


class PairClassification(BinaryHead):
    """Siamese pair classifier: p = sigmoid(W [u, v, |u - v|] + b), binary cross-entropy.

    The loss of a batch is the mean of -(w y log p + (1 - y) log(1 - p)) with positive weight w, as in PyTorch.

    Source: Multi-BERT paper, Figure 1; Reimers & Gurevych 2019. The paper's threshold is .5; for ours see
    `calibration.Decision`.

    Args:
        hidden_size: number of features of a sentence vector.
        labels: names of the negative and the positive class in the data, by default `0` and `1`. `{0: no, 1: yes}`
            renames them: the data contains 0 and 1, predictions show no and yes.
        dropout: probability of dropping a feature of [u, v, |u - v|] in training; the paper has no dropout here.
        positive_weight: weight w of a positive example in the loss; a negative one has weight 1. A weight above 1
            raises recall and lowers precision. `balanced` is the number of negative examples in the training file
            divided by the number of positive ones.
        label_smoothing: epsilon of `binary_loss` in training.
        focal: gamma of the focal loss, which training then minimises; see `binary_loss`. The paper uses 2.

    Raises:
        OptionError: there are not exactly two distinct labels, or both label_smoothing and focal are given.
    """

    sides = ("first", "second")
    positive_weight: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        *,
        labels: ClassNames = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        positive_weight: Weight = 1.0,
        label_smoothing: Smoothing = 0.0,
        focal: Gamma = None,
    ) -> None:
        super().__init__(self.labels_from(labels))
        check_loss_options(label_smoothing, focal)
        self.label_smoothing, self.focal = label_smoothing, focal
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(3 * hidden_size, 1)
        self.balanced = positive_weight == "balanced"
        # A balanced weight is saved with the model, because an evaluation has no training labels to count.
        weight = 1.0 if isinstance(positive_weight, str) else positive_weight
        buffer = torch.tensor(weight) if self.balanced or weight != 1 else None
        self.register_buffer("positive_weight", buffer, persistent=self.balanced)

    def forward(
        self, u: Float[Tensor, "examples hidden"], v: Float[Tensor, "examples hidden"]
    ) -> Float[Tensor, " examples"]:
        """Return the logit of the positive class."""
        return self.linear(self.dropout(torch.cat([u, v, (u - v).abs()], -1))).squeeze(-1)

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Set the positive weight if it is `balanced`."""
        if self.balanced:
            negative, positive = balanced_weights(labels, 2)
            self.positive_weight = positive / negative

    def loss(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean binary cross-entropy, with the positive weight if there is one."""
        return binary_loss(outputs, labels, self.positive_weight)

    def training_loss(
        self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]
    ) -> Float[Tensor, ""]:
        """Return the loss with label smoothing, or the focal loss."""
        return binary_loss(outputs, labels, self.positive_weight, self.label_smoothing, self.focal)

    def logits(self, outputs: Float[Tensor, " examples"]) -> Float[Tensor, "examples classes"]:
        """Return 0 and the output; their softmax is the output's sigmoid."""
        return torch.stack([torch.zeros_like(outputs), outputs], -1)
