"""Classification of single sentences, or of pairs read as one sequence."""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from mbert_cli.data.labels import ClassLabels
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
"""What an example of each class weighs: numbers, or `balanced`."""


class Classification(ClassHead):
    """softmax(W dropout(u) + b), cross-entropy, argmax. Source: Multi-BERT paper, the sentiment head.

    With class weights w the loss of a batch is the weighted mean of its cross-entropies, sum_i w_(y_i) l_i divided by
    sum_i w_(y_i), as PyTorch's. Of two classes the second is predicted above a threshold; see `decisions.Decision`.

    Args:
        hidden_size: features of a sentence vector.
        num_classes: classes named `0` to `num_classes - 1` in the data.
        labels: names of the classes in the data, in order, instead of num_classes; `{0: bad, 1: good}` renames them:
            the data holds 0 and 1, predictions show bad and good.
        dropout: probability of dropping a feature of the sentence vector in training.
        class_weights: how much an example of each class weighs in the loss, in the classes' order; `balanced` lets all
            classes weigh the same, by their numbers in the training file.

    Raises:
        OptionError: not exactly one of num_classes and labels is given, the labels are not distinct, or the weights are
            not as many.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        *,
        num_classes: Annotated[int, Field(ge=2, le=100_000)] | None = None,
        labels: ClassLabels = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        class_weights: Weights = None,
    ) -> None:
        if labels is None:
            if num_classes is None:
                raise OptionError("num_classes", "or labels must say which classes there are")
            labels = [str(index) for index in range(num_classes)]
        elif num_classes not in (None, len(labels)):
            raise OptionError("num_classes", f"is {num_classes}, but {len(labels)} labels are named; leave it out")
        super().__init__(labels)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, len(labels))
        self.balanced = class_weights == "balanced"
        weights = [1.0] * len(labels) if self.balanced else class_weights
        if weights is not None and len(weights) != len(labels):
            raise OptionError("class_weights", f"must be as many as the classes, {len(labels)}, but are {len(weights)}")
        # Counted ones are saved with the model: who evaluates it has no training labels to count.
        buffer = None if weights is None else torch.tensor(weights)
        self.register_buffer("class_weights", buffer, persistent=self.balanced)

    @property
    def column_names(self) -> list[str]:
        """`pred` and `p_<label>`."""
        return ["pred", *(f"p_{label}" for label in self.labels)]

    def forward(self, u: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples classes"]:
        """Return the logits."""
        return self.linear(self.dropout(u))

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Weigh the classes, where they are to be balanced."""
        if self.balanced:
            self.class_weights = balanced_weights(labels, len(self.labels))

    def loss(self, outputs: Float[Tensor, "examples classes"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy, weighted if so chosen."""
        weights = None if self.class_weights is None else self.class_weights.to(outputs)
        return nn.functional.cross_entropy(outputs, labels.long(), weights)

    def soft_loss(
        self, outputs: Float[Tensor, "examples classes"], soft: Float[Tensor, "examples classes"]
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy with probabilities, weighted if so chosen: what `loss` is where they are 1."""
        weights = soft if self.class_weights is None else soft * self.class_weights.to(soft)
        return -(weights * outputs.log_softmax(-1)).sum() / weights.sum()

    def logits(self, outputs: Float[Tensor, "examples classes"]) -> Float[Tensor, "examples classes"]:
        """Return the outputs, which are the logits."""
        return outputs

    def predict(self, outputs: Float[Tensor, "examples classes"]) -> Columns:
        """Return `pred` and `p_<label>`."""
        values = self.calibrated(outputs).softmax(-1).double().cpu().numpy()
        columns: Columns = {"pred": [self.labels[index] for index in self.classes(outputs)]}
        for index, label in enumerate(self.labels):
            columns[f"p_{label}"] = values[:, index].tolist()
        return columns
