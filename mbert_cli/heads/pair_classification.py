"""Classification of sentence pairs in two classes."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.errors import OptionError
from mbert_cli.heads import Columns, Head, as_classes, check_labels, parse_class
from mbert_cli.metrics import Metrics, classification_metrics


class PairClassification(Head):
    """Siamese pair classifier: sigmoid(W [u, v, |u - v|] + b), binary cross-entropy, threshold .5.

    Source: Multi-BERT paper, Figure 1; Reimers & Gurevych 2019.

    Args:
        hidden_size: features of a sentence vector.
        labels: names of the negative and the positive class in the data; `0` and `1` by default.
        dropout: probability of dropping a feature of [u, v, |u - v|] in training; the paper has none.

    Raises:
        OptionError: there are not two distinct labels.
    """

    sides = ("first", "second")
    main_metric = "accuracy"
    metric_names = ("accuracy", "precision", "recall", "f1", "loss")

    def __init__(
        self,
        hidden_size: int,
        *,
        labels: list[str] | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.labels = ["0", "1"] if labels is None else labels
        check_labels(self.labels)
        if len(self.labels) != 2:
            raise OptionError("labels", f"must be two, the negative and the positive one, but are {len(self.labels)}")
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(3 * hidden_size, 1)

    def forward(
        self, u: Float[Tensor, "examples hidden"], v: Float[Tensor, "examples hidden"]
    ) -> Float[Tensor, " examples"]:
        """Return the logit of the positive class."""
        return self.linear(self.dropout(torch.cat([u, v, (u - v).abs()], -1))).squeeze(-1)

    def parse_label(self, text: str) -> float:
        """Return 0 or 1."""
        return parse_class(text, self.labels)

    def loss(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean binary cross-entropy."""
        return nn.functional.binary_cross_entropy_with_logits(outputs, labels)

    def predict(self, outputs: Float[Tensor, " examples"]) -> Columns:
        """Return `pred`, and `score`, the probability of the positive class."""
        scores = outputs.sigmoid().double().cpu().numpy()
        return {"pred": [self.labels[index] for index in as_classes(outputs > 0)], "score": scores.tolist()}

    def metrics(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Metrics:
        """Return accuracy, precision, recall and F1 of the positive class, and the confusion matrix."""
        return classification_metrics(as_classes(outputs > 0), as_classes(labels), self.labels, positive=1)
