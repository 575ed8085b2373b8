"""Classification of single sentences, or of pairs that are read as one sequence."""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from mbert_cli.data.labels import ClassLabels, ClassNames
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.errors import OptionError
from mbert_cli.heads import ClassHead, Columns, PositiveNumber, balanced_weights, is_weight


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

    Raises:
        OptionError: neither num_classes nor labels is given, they disagree, labels are not distinct, or the number of
            weights is not the number of classes.
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
    ) -> None:
        super().__init__(self.labels_from(num_classes, labels))
        count = len(self.labels)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden_size, count)
        self.balanced = class_weights == "balanced"
        weights = [1.0] * count if self.balanced else class_weights
        if weights is not None and len(weights) != count:
            raise OptionError("class_weights", f"must be as many as the classes, {count}, but are {len(weights)}")
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
