"""Classification of single sentences."""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.errors import OptionError
from mbert_cli.heads import Columns, Head, as_classes, check_labels, parse_class, probability_columns
from mbert_cli.metrics import Metrics, classification_metrics


class Classification(Head):
    """softmax(W dropout(u) + b), cross-entropy, argmax. Source: Multi-BERT paper, the sentiment head.

    Args:
        hidden_size: features of a sentence vector.
        num_classes: classes named `0` to `num_classes - 1` in the data.
        labels: names of the classes in the data, in order; instead of num_classes.
        dropout: probability of dropping a feature of the sentence vector in training.

    Raises:
        OptionError: not exactly one of num_classes and labels is given, or the labels are not distinct.
    """

    main_metric = "accuracy"
    metric_names = ("accuracy", "precision", "recall", "f1", "loss")

    def __init__(
        self,
        hidden_size: int,
        *,
        num_classes: Annotated[int, Field(ge=2, le=100_000)] | None = None,
        labels: list[str] | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        if labels is None:
            if num_classes is None:
                raise OptionError("num_classes", "or labels must say which classes there are")
            labels = [str(index) for index in range(num_classes)]
        elif num_classes not in (None, len(labels)):
            raise OptionError("num_classes", f"is {num_classes}, but {len(labels)} labels are named; leave it out")
        check_labels(labels)
        self.labels = labels
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, len(labels))

    @property
    def column_names(self) -> list[str]:
        """`pred` and `p_<label>`."""
        return ["pred", *(f"p_{label}" for label in self.labels)]

    def forward(self, u: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples classes"]:
        """Return the logits."""
        return self.linear(self.dropout(u))

    def parse_label(self, text: str) -> float:
        """Return the index of the class."""
        return parse_class(text, self.labels)

    def loss(self, outputs: Float[Tensor, "examples classes"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy."""
        return nn.functional.cross_entropy(outputs, labels.long())

    def predict(self, outputs: Float[Tensor, "examples classes"]) -> Columns:
        """Return `pred` and `p_<label>`."""
        return probability_columns(outputs.softmax(-1), self.labels)

    def metrics(self, outputs: Float[Tensor, "examples classes"], labels: Float[Tensor, " examples"]) -> Metrics:
        """Return accuracy, macro precision, recall and F1, and the confusion matrix."""
        return classification_metrics(as_classes(outputs.argmax(-1)), as_classes(labels), self.labels, positive=None)
