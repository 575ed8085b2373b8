"""Several labels for each row, for single sentences or for pairs that are read as one sequence."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from mbert_cli.calibration import Criterion, LabelDecision
from mbert_cli.data.label_sets import DELIMITER, LabelSets
from mbert_cli.data.labels import ClassNames
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.errors import OptionError
from mbert_cli.heads import Columns, DecidingHead, PositiveNumber, is_weight
from mbert_cli.heads.classification import Gamma, Smoothing, check_loss_options
from mbert_cli.heads.pair_classification import binary_loss
from mbert_cli.metrics import Metrics, metrics_of, multi_label_metrics


def _weights(value: Any) -> str | float | list[float]:
    if value == "balanced":
        return "balanced"
    if is_weight(value):
        return float(value)
    if isinstance(value, list) and all(map(is_weight, value)):
        return [float(each) for each in value]
    raise ValueError("must be balanced, a positive number, or a list of positive numbers")


Weights = Annotated[
    str | float | list[float],
    PlainValidator(_weights, json_schema_input_type=Literal["balanced"] | PositiveNumber | list[PositiveNumber]),
]
"""Weight of a row that has a label: one number for all labels, one for each label, or `balanced`."""


class MultiLabel(DecidingHead):
    """p_k = sigmoid(w_k dropout(u) + b_k) for each label k; the set of the labels whose p_k is above a threshold.

    The loss of a batch is the mean over its rows and all labels of -(w_k y_k log p_k + (1 - y_k) log(1 - p_k)) with
    positive weights w_k, as in PyTorch. The thresholds are .5 until `mbert evaluate --tune-thresholds` fits them.

    Args:
        hidden_size: number of features of a sentence vector.
        labels: the labels in the data; `{0: rude, 1: threat}` renames them in predictions. If the task names one column
            for each label, the columns are the labels.
        delimiter: the text between two labels of a row, in the data and in predictions.
        dropout: probability of dropping a feature of the sentence vector in training.
        positive_weight: weight w_k of a row that has label k, in the loss; a row without it has weight 1. `balanced` is
            the number of training rows without label k divided by the number of rows with it, or 1 if one is 0.
        label_smoothing: epsilon of `binary_loss` for each label, in training.
        focal: gamma of the focal loss of each label, which training then minimises; see `binary_loss`.

    Raises:
        OptionError: there are no labels, they are not distinct, a label contains the delimiter, the number of weights
            is not the number of labels, or both label_smoothing and focal are given.
    """

    labels: LabelSets
    decision: LabelDecision
    main_metric = "micro_f1"
    metric_names = metrics_of("multi_label")
    threshold_metrics = ("micro_f1", "macro_f1", "exact_match")
    has_thresholds = True
    positive_weight: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        *,
        labels: ClassNames = None,
        delimiter: str = DELIMITER,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        positive_weight: Weights = 1.0,
        label_smoothing: Smoothing = 0.0,
        focal: Gamma = None,
    ) -> None:
        super().__init__(self.labels_from(labels, delimiter))
        check_loss_options(label_smoothing, focal)
        self.label_smoothing, self.focal = label_smoothing, focal
        self.decision = LabelDecision()
        count = len(self.labels)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden_size, count)
        self.balanced = positive_weight == "balanced"
        weights = [1.0] * count if isinstance(positive_weight, str) else positive_weight
        weights = [weights] * count if isinstance(weights, float) else weights
        if len(weights) != count:
            what = f"must list a weight for each of the {count} labels, but lists {len(weights)}"
            raise OptionError("positive_weight", what)
        # Balanced weights are saved with the model, because an evaluation has no training labels to count.
        buffer = torch.tensor(weights, dtype=torch.float32) if self.balanced or {*weights} != {1.0} else None
        self.register_buffer("positive_weight", buffer, persistent=self.balanced)

    @staticmethod
    def labels_from(labels: ClassNames, delimiter: str) -> LabelSets:
        """Return the labels."""
        if labels is None:
            raise OptionError("labels", "must list the labels; or the task's label must name a column for each of them")
        return LabelSets(labels, delimiter)

    def forward(self, u: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples labels"]:
        """Return a logit for each label."""
        return self.linear(self.dropout(u))

    def observe(self, labels: Float[Tensor, "examples labels"]) -> None:
        """Set the positive weights if they are `balanced`."""
        if self.balanced:
            positive = labels.double().sum(0)
            negative = len(labels) - positive
            occurs = (positive > 0) & (negative > 0)
            self.positive_weight = torch.where(occurs, negative / positive.clamp(min=1), 1.0).float()

    def loss(
        self, outputs: Float[Tensor, "examples labels"], labels: Float[Tensor, "examples labels"]
    ) -> Float[Tensor, ""]:
        """Return the mean binary cross-entropy, with the positive weights if there are any."""
        return binary_loss(outputs, labels, self.positive_weight)

    def training_loss(
        self, outputs: Float[Tensor, "examples labels"], labels: Float[Tensor, "examples labels"]
    ) -> Float[Tensor, ""]:
        """Return the loss with label smoothing, or the focal loss."""
        return binary_loss(outputs, labels, self.positive_weight, self.label_smoothing, self.focal)

    def soft_loss(
        self, outputs: Float[Tensor, "examples labels"], soft: Float[Tensor, "examples labels"]
    ) -> Float[Tensor, ""]:
        """Return the mean binary cross-entropy with probabilities. It equals `loss` if they are 0 and 1."""
        return self.loss(outputs, soft)

    def calibrated(self, outputs: Tensor) -> Tensor:
        """Return the outputs divided by the temperature, which is 1 until it is fitted."""
        return outputs / self.decision.temperature

    def probabilities(self, outputs: Float[Tensor, "examples labels"]) -> Float[Tensor, "examples labels"]:
        """Return the calibrated probability of each label."""
        return self.calibrated(outputs).sigmoid()

    def decided(self, outputs: Float[Tensor, "examples labels"]) -> np.ndarray:
        """Return the predicted sets: 1 for each label in the set, 0 for the others."""
        cuts = [self.decision.cuts.get(name, 0.0) for name in self.labels.names]
        above = outputs.double() > torch.tensor(cuts, dtype=torch.float64, device=outputs.device)
        return above.long().cpu().numpy()

    def predict(self, outputs: Float[Tensor, "examples labels"]) -> Columns:
        """Return `pred`, the labels of the set joined by the delimiter, and `p_<label>`."""
        probabilities = self.probabilities(outputs).double().cpu().numpy().T.tolist()
        names = dict(zip(self.labels.probability_columns, probabilities, strict=True))
        return {"pred": [self.labels.joined(flags) for flags in self.decided(outputs).tolist()], **names}

    def metrics(self, outputs: Float[Tensor, "examples labels"], labels: Float[Tensor, "examples labels"]) -> Metrics:
        """Return micro and macro F1, average precision and exact matches; F1 and the threshold of each label."""
        scores, truth = outputs.double().cpu().numpy(), labels.long().cpu().numpy()
        metrics = multi_label_metrics(self.decided(outputs), scores, truth, self.labels.names)
        for name, own in metrics["per_class"].items():
            own["threshold"] = self.decision.threshold(name)
        return {**metrics, "delimiter": self.labels.delimiter, "decision": self.decision.model_dump()}

    def label_texts(self, labels: Tensor) -> list[str]:
        """Return the labels of each row, joined by the delimiter."""
        return [self.labels.joined(flags) for flags in labels.tolist()]

    def likelihood_data(self, outputs: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return two logits for each label of each row, without and with the label: the temperature is shared."""
        logits = outputs.double().cpu().numpy().ravel()
        return np.stack([np.zeros(logits.size), logits], axis=1), labels.long().cpu().numpy().ravel()

    def threshold_data(self, outputs: Tensor, labels: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return the logits and the truth of each label, without the labels that all rows or no rows have."""
        logits, truth = outputs.double().cpu().numpy(), labels.long().cpu().numpy()
        counts = truth.sum(axis=0)
        names = enumerate(self.labels.names)
        return {name: (logits[:, k], truth[:, k]) for k, name in names if 0 < counts[k] < len(truth)}

    def with_cuts(self, cuts: Mapping[str, float], criterion: Criterion) -> LabelDecision:
        """Return the decision with other cuts of some labels; the other labels keep theirs."""
        return self.decision.model_copy(update={"cuts": {**self.decision.cuts, **cuts}, "criterion": criterion})

    def common_label(self, labels: Tensor) -> str | None:
        """Return in words whether all rows have all labels, or none; None otherwise."""
        flags = labels.long().unique().tolist()
        return None if len(flags) > 1 else "all labels" if flags[0] else "no label"
