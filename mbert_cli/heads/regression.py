"""Values on a scale, of single sentences or of pairs read as one sequence."""

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.heads import Columns, ValueHead


class Regression(ValueHead):
    """scale * sigmoid(w dropout(u) + b), by cross-entropy or squared error.

    With two text columns it is the cross-encoder of sentence similarity: both are read as one sequence, so that every
    word of one attends to every word of the other. Source: Reimers & Gurevych 2019, section 4, which compares it with
    Siamese networks; the loss is that of the CrossEncoder of their library.

    Args:
        hidden_size: features of a sentence vector.
        scale: the largest label; labels run from `min` to it.
        min: the smallest label.
        loss: `cross_entropy`, binary, with label / scale as the probability; or `squared_error` on the labels' scale.
        dropout: probability of dropping a feature of the sentence vector in training.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        scale: Annotated[float, Field(allow_inf_nan=False)] = 5.0,
        min: Annotated[float, Field(allow_inf_nan=False)] = 0.0,
        loss: Literal["cross_entropy", "squared_error"] = "cross_entropy",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__(scale, min)
        self.loss_kind = loss
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, 1)

    def forward(self, u: Float[Tensor, "examples hidden"]) -> Float[Tensor, " examples"]:
        """Return the logits."""
        return self.linear(self.dropout(u)).squeeze(-1)

    def loss(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean loss."""
        if self.loss_kind == "squared_error":
            return nn.functional.mse_loss(self.values(outputs), labels)
        return nn.functional.binary_cross_entropy_with_logits(outputs, self.shares(labels))

    def values(self, outputs: Float[Tensor, " examples"]) -> Float[Tensor, " examples"]:
        """Return the values that are predicted."""
        return self.on_scale(outputs.sigmoid())

    def predict(self, outputs: Float[Tensor, " examples"]) -> Columns:
        """Return `pred`, the value, and `score`, its share of the scale."""
        shares = outputs.double().sigmoid()
        return {"pred": self.on_scale(shares).tolist(), "score": shares.tolist()}
