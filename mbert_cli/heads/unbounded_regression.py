"""Numbers without limits, for single sentences or for pairs that are read as one sequence."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.data.labels import UnboundedLabels
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.heads import Columns, ValueHead


class UnboundedRegression(ValueHead):
    """m + s (w dropout(u) + b), where m and s are the mean and the standard deviation of the training labels.

    The loss compares w dropout(u) + b with the standardised label (y - m) / s. Therefore the learning rate does not
    depend on the unit of the labels. Predictions and metrics are in that unit. w and b start at small values, so the
    first predictions are close to m. m and s are saved with the model. s is 1 if all training labels are equal.

    Args:
        hidden_size: number of features of a sentence vector.
        loss: `squared_error`, or `absolute_error`, which follows outliers less; both of the standardised labels.
        dropout: probability of dropping a feature of the sentence vector in training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        hidden_size: int,
        *,
        loss: Literal["squared_error", "absolute_error"] = "squared_error",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__(self.labels_from())
        self.loss_kind = loss
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden_size, 1)
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("deviation", torch.tensor(1.0))

    @staticmethod
    def labels_from() -> UnboundedLabels:
        """Return the labels; no option changes them."""
        return UnboundedLabels()

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Set the mean and the standard deviation, with divisor N, to those of the training labels."""
        exact = labels.double()
        self.mean = exact.mean().float()
        deviation = exact.std(correction=0)
        self.deviation = (deviation if deviation > 0 else torch.ones_like(deviation)).float()

    def forward(self, u: Float[Tensor, "examples hidden"]) -> Float[Tensor, " examples"]:
        """Return the standardised predictions."""
        return self.linear(self.dropout(u)).squeeze(-1)

    def loss(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean loss of the standardised labels."""
        standardised = ((labels - self.mean) / self.deviation).to(outputs)
        compare = nn.functional.mse_loss if self.loss_kind == "squared_error" else nn.functional.l1_loss
        return compare(outputs, standardised)

    def values(self, outputs: Float[Tensor, " examples"]) -> Float[Tensor, " examples"]:
        """Return the predicted numbers in the unit of the labels."""
        return self.mean + self.deviation * outputs

    def predict(self, outputs: Float[Tensor, " examples"]) -> Columns:
        """Return `pred`, the number."""
        return {"pred": self.values(outputs.double()).tolist()}
