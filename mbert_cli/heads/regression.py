"""Numbers on a scale, for single sentences or for pairs that are read as one sequence."""

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.encoder.dropout import Dropout
from mbert_cli.heads import Columns, Limit, ScaleHead


class Regression(ScaleHead):
    """min + (max - min) sigmoid(w dropout(u) + b), by cross-entropy or squared error.

    With two text columns this is a cross-encoder for sentence similarity: both texts are one sequence, and each word
    of one attends to each word of the other. Source: Reimers & Gurevych 2019, section 4, which compares it with
    Siamese networks. The loss is that of the CrossEncoder in their library.

    Args:
        hidden_size: number of features of a sentence vector.
        min: the smallest label.
        max: the largest label, by default 5.
        scale: an older name of max.
        loss: `cross_entropy`: binary cross-entropy, the probability is (label - min) / (max - min); or
            `squared_error`, on the scale of the labels.
        dropout: probability of dropping a feature of the sentence vector in training.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        min: Limit = 0.0,
        max: Limit | None = None,
        scale: Limit | None = None,
        loss: Literal["cross_entropy", "squared_error"] = "cross_entropy",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__(self.labels_from(min, max, scale))
        self.loss_kind = loss
        self.dropout = Dropout(dropout)
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
        """Return the predicted numbers."""
        return self.on_scale(outputs.sigmoid())

    def predict(self, outputs: Float[Tensor, " examples"]) -> Columns:
        """Return `pred`, the number, and `score`, its share of the scale."""
        shares = outputs.double().sigmoid()
        return {"pred": self.on_scale(shares).tolist(), "score": shares.tolist()}
