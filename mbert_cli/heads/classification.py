"""Classification of single sentences, or of pairs that are read as one sequence."""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from mbert_cli.data.labels import ClassLabels, ClassNames
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.errors import OptionError
from mbert_cli.heads import ClassHead, Columns, PositiveNumber, is_weight


def _weights(value: Any) -> str | list[float] | None:
    if value in (None, "balanced"):
        return value
    if isinstance(value, list) and all(map(is_weight, value)):
        return [float(each) for each in value]
    raise ValueError("must be balanced, or a list of positive numbers")


Weights = Annotated[
    str | list[float] | None,
    PlainValidator(_weights, json_schema_input_type=Literal["balanced"] | list[PositiveNumber] | None),
]
"""Weight of an example of each class: a list of numbers, or `balanced`."""


def balanced_weights(labels: Float[Tensor, " examples"], num_classes: int) -> Float[Tensor, " classes"]:
    """Return class weights that give all classes the same total weight: N / (K n_k).

    N is the number of examples, K the number of classes, n_k the number of examples of class k. The mean weight over
    the examples is 1. A class without examples is not counted in K, and its weight is 1.
    """
    counts = torch.bincount(labels.long(), minlength=num_classes).double()
    weights = len(labels) / (counts.clamp(min=1) * (counts > 0).sum())
    return torch.where(counts > 0, weights, 1.0).float()


Smoothing = Annotated[float, Field(ge=0, lt=1)]
"""Share of a label that is spread evenly over all classes."""

Gamma = Annotated[float, Field(ge=0, le=100)] | None
"""Exponent of the focal loss; None for cross-entropy."""


def check_loss_options(label_smoothing: float, focal: float | None) -> None:
    """Check the options of a head's training loss.

    Raises:
        OptionError: both are given.
    """
    if label_smoothing and focal is not None:
        raise OptionError("focal", f"is {focal:g}, but label_smoothing is {label_smoothing:g}; remove one of them")


def focal_loss(
    logits: Float[Tensor, "examples classes"],
    labels: Int[Tensor, " examples"],
    gamma: float,
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Return the weighted mean of -(1 - p)^gamma log p, where p is the probability of an example's label.

    Well-classified examples count less: with gamma 2, an example with p = .9 counts 100 times less than in
    cross-entropy. With gamma 0, it is the cross-entropy. Source: Lin et al. 2017, "Focal Loss for Dense Object
    Detection", equation 5; their alpha is the class weight.

    Args:
        logits: a logit for each class.
        labels: the class of each example.
        gamma: exponent, at least 0.
        weights: weight of an example of each class; the mean divides by the sum of the weights.
    """
    chosen = labels[:, None]
    log_p = logits.log_softmax(-1)
    # log(1 - p) from the other classes: 1 - p would round to 0 for a confident prediction.
    log_rest = log_p.scatter(1, chosen, -torch.inf).logsumexp(-1)
    losses = -(gamma * log_rest).exp() * log_p.gather(1, chosen)[:, 0]
    return losses.mean() if weights is None else (losses * weights[labels]).sum() / weights[labels].sum()


class Classification(ClassHead):
    """softmax(W dropout(u) + b), cross-entropy, argmax. Source: Multi-BERT paper, the sentiment head.

    With class weights w, the loss of a batch is the weighted mean of the cross-entropies l_i, as in PyTorch:
    sum_i w_(y_i) l_i / sum_i w_(y_i). With two classes, the second is predicted if its probability is above a
    threshold; see `calibration.Decision`.

    Args:
        hidden_size: number of features of a sentence vector.
        num_classes: number of classes; in the data they are `0` to `num_classes - 1`.
        labels: names of the classes in the data, in order, instead of num_classes. `{0: bad, 1: good}` renames them:
            the data contains 0 and 1, predictions show bad and good.
        dropout: probability of dropping a feature of the sentence vector in training.
        class_weights: weight of an example of each class in the loss, in the order of the classes; `balanced` gives
            all classes the same total weight, from their counts in the training file.
        label_smoothing: epsilon: in the training loss, the probability of the label is 1 - epsilon + epsilon / K, and
            that of each other class epsilon / K, for K classes. Source: Szegedy et al. 2016, "Rethinking the Inception
            Architecture for Computer Vision", section 7. Class weights act as in PyTorch's `cross_entropy`.
        focal: gamma of the focal loss, which training then minimises; see `focal_loss`. The paper uses 2.

    Raises:
        OptionError: neither num_classes nor labels is given, they disagree, labels are not distinct, the number of
            weights is not the number of classes, or both label_smoothing and focal are given.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        *,
        num_classes: Annotated[int, Field(ge=2, le=100_000)] | None = None,
        labels: ClassNames = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        class_weights: Weights = None,
        label_smoothing: Smoothing = 0.0,
        focal: Gamma = None,
    ) -> None:
        super().__init__(self.labels_from(num_classes, labels))
        check_loss_options(label_smoothing, focal)
        self.label_smoothing, self.focal = label_smoothing, focal
        count = len(self.labels)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden_size, count)
        self.balanced = class_weights == "balanced"
        weights = [1.0] * count if self.balanced else class_weights
        if weights is not None and len(weights) != count:
            raise OptionError(
                "class_weights", f"must list a weight for each of the {count} classes, but lists {len(weights)}"
            )
        # Balanced weights are saved with the model, because an evaluation has no training labels to count.
        buffer = None if weights is None else torch.tensor(weights)
        self.register_buffer("class_weights", buffer, persistent=self.balanced)

    @staticmethod
    def labels_from(num_classes: int | None, labels: ClassNames) -> ClassLabels:
        """Return the classes."""
        if labels is None:
            if num_classes is None:
                raise OptionError("num_classes", "or labels must say which classes there are")
            return ClassLabels([str(index) for index in range(num_classes)])
        if num_classes not in (None, len(labels)):
            raise OptionError("num_classes", f"is {num_classes}, but {len(labels)} labels are named; leave it out")
        return ClassLabels(labels)

    def forward(self, u: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples classes"]:
        """Return the logits."""
        return self.linear(self.dropout(u))

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Set the class weights if they are `balanced`."""
        if self.balanced:
            self.class_weights = balanced_weights(labels, len(self.labels))

    def loss(self, outputs: Float[Tensor, "examples classes"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy, with class weights if there are any."""
        weights = None if self.class_weights is None else self.class_weights.to(outputs)
        return nn.functional.cross_entropy(outputs, labels.long(), weights)

    def training_loss(
        self, outputs: Float[Tensor, "examples classes"], labels: Float[Tensor, " examples"]
    ) -> Float[Tensor, ""]:
        """Return the loss with label smoothing, or the focal loss."""
        weights = None if self.class_weights is None else self.class_weights.to(outputs)
        if self.focal is not None:
            return focal_loss(outputs, labels.long(), self.focal, weights)
        return nn.functional.cross_entropy(outputs, labels.long(), weights, label_smoothing=self.label_smoothing)

    def label_weight(self, labels: Float[Tensor, " examples"]) -> float | Tensor:
        """Return the sum of the class weights of the examples."""
        return super().label_weight(labels) if self.class_weights is None else self.class_weights[labels.long()].sum()

    def soft_weight(self, soft: Float[Tensor, "examples classes"]) -> float | Tensor:
        """Return the sum of the class weights, each multiplied by its probability."""
        return (soft if self.class_weights is None else soft * self.class_weights).sum()

    def soft_loss(
        self, outputs: Float[Tensor, "examples classes"], soft: Float[Tensor, "examples classes"]
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy with probabilities. It equals `loss` if they are 0 and 1."""
        weights = soft if self.class_weights is None else soft * self.class_weights.to(soft)
        return -(weights * outputs.log_softmax(-1)).sum() / weights.sum()

    def logits(self, outputs: Float[Tensor, "examples classes"]) -> Float[Tensor, "examples classes"]:
        """Return the outputs, which are the logits."""
        return outputs

    def predict(self, outputs: Float[Tensor, "examples classes"]) -> Columns:
        """Return `pred` and `p_<name>`."""
        values = self.calibrated(outputs).softmax(-1).double().cpu().numpy()
        probabilities = dict(zip(self.labels.probability_columns, values.T.tolist(), strict=True))
        return {"pred": self.named(self.classes(outputs)), **probabilities}
