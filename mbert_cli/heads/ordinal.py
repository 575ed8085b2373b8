"""Ordered classes, for single sentences or for pairs that are read as one sequence."""

import math
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.data.labels import ClassLabels, ClassNames
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.errors import OptionError
from mbert_cli.heads import ClassHead, Columns, as_classes
from mbert_cli.metrics import Metrics, metrics_of, ordinal_metrics

_FEWEST = 3  # two classes have no order
_GAP = 1.0  # between two thresholds before training


class Ordinal(ClassHead):
    """Proportional odds: P(y > k) = sigmoid(s - b_k) with one score s = w . dropout(u) and thresholds b_1 < b_2 < ...

    P(y = k) = P(y > k - 1) - P(y > k). The loss is the mean of -log P(y). The thresholds are increasing by
    construction: b_(k+1) = b_k + softplus(d_k), where b_1 and all d_k are trained. So the probabilities of classes
    above k fall with k, and a wrong class next to the true one costs less than a distant one. Parameters: hidden_size +
    classes - 1.

    The predicted class is the median, which has the smallest expected distance from the true class. The most likely
    class is rarely a middle one in a short training: of three classes, the middle one is never the most likely if the
    thresholds are closer than 2 log 2. Calibration changes no prediction: the median is that of the probabilities with
    the temperature 1.

    Source: McCullagh 1980, "Regression Models for Ordinal Data"; the ordered thresholds and one weight vector are those
    of Cao, Mirjalili & Raschka 2020 (CORAL), whose loss is the sum of the binary cross-entropies of all y > k instead.

    Args:
        hidden_size: number of features of a sentence vector.
        labels: the classes in the data, from the lowest to the highest. `{0: bad, 1: fair, 2: good}` renames them:
            the data contains 0, 1 and 2, predictions show bad, fair and good.
        dropout: probability of dropping a feature of the sentence vector in training.

    Raises:
        OptionError: there are fewer than three labels, or they are not distinct.
    """

    main_metric = "quadratic_kappa"
    metric_names = metrics_of("ordinal")

    def __init__(
        self,
        hidden_size: int,
        *,
        labels: ClassNames = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__(self.labels_from(labels))
        between = len(self.labels) - 2
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden_size, 1, bias=False)
        # The thresholds start symmetrically around 0.
        self.first = nn.Parameter(torch.tensor(-_GAP * between / 2))
        self.steps = nn.Parameter(torch.full((between,), math.log(math.expm1(_GAP))))

    @staticmethod
    def labels_from(labels: ClassNames) -> ClassLabels:
        """Return the classes."""
        if labels is None:
            raise OptionError("labels", "must list the classes from the lowest to the highest")
        if len(labels) < _FEWEST:
            rule = f"must list at least {_FEWEST} ordered classes, but lists {len(labels)}; for two, use classification"
            raise OptionError("labels", rule)
        return ClassLabels(labels)

    def thresholds(self) -> Float[Tensor, " thresholds"]:
        """Return the thresholds b, in ascending order."""
        return torch.cat([self.first[None], self.first + nn.functional.softplus(self.steps).cumsum(0)])

    def forward(self, u: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples classes"]:
        """Return log P(y = k).

        With a = s - b_(k-1) and c = s - b_k, P(y = k) = sigmoid(a) - sigmoid(c) = sigmoid(a) sigmoid(-c) (1 - e^(c-a)).
        All three factors have exact logarithms. The first and the last class have one term only.
        """
        above = self.linear(self.dropout(u)) - self.thresholds()
        over, under = nn.functional.logsigmoid(above), nn.functional.logsigmoid(-above)
        gaps = torch.log(-torch.expm1(-nn.functional.softplus(self.steps)))
        return torch.cat([under[:, :1], over[:, :-1] + under[:, 1:] + gaps, over[:, -1:]], -1)

    def loss(self, outputs: Float[Tensor, "examples classes"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean negative log-likelihood. Calibrated outputs are normalised first."""
        return nn.functional.cross_entropy(outputs, labels.long())

    def soft_loss(
        self, outputs: Float[Tensor, "examples classes"], soft: Float[Tensor, "examples classes"]
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy with probabilities. It equals `loss` if they are 0 and 1."""
        return -(soft * outputs.log_softmax(-1)).sum() / soft.sum()

    def soft_weight(self, soft: Float[Tensor, "examples classes"]) -> Tensor:
        """Return the sum of the probabilities."""
        return soft.sum()

    def logits(self, outputs: Float[Tensor, "examples classes"]) -> Float[Tensor, "examples classes"]:
        """Return the outputs, which are logarithms of probabilities."""
        return outputs

    def classes(self, outputs: Float[Tensor, "examples classes"]) -> np.ndarray:
        """Return the median class: the first class k with P(y <= k) of at least 1/2."""
        below = outputs.double().softmax(-1).cumsum(-1)[:, :-1] < 0.5
        return as_classes(below.sum(-1))

    def predict(self, outputs: Float[Tensor, "examples classes"]) -> Columns:
        """Return `pred` and `p_<name>`."""
        values = self.probabilities(outputs).double().cpu().numpy()
        probabilities = dict(zip(self.labels.probability_columns, values.T.tolist(), strict=True))
        return {"pred": self.named(self.classes(outputs)), **probabilities}

    def metrics(self, outputs: Float[Tensor, "examples classes"], labels: Float[Tensor, " examples"]) -> Metrics:
        """Return the metrics of a classification, and those of the distance between classes."""
        own = ordinal_metrics(self.classes(outputs), as_classes(labels), len(self.labels))
        return {**own, **super().metrics(outputs, labels)}
