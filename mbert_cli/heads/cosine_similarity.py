"""Similarity of sentence pairs on a scale."""

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.encoder.initialisation import start_identity
from mbert_cli.heads import Columns, ValueHead
from mbert_cli.metrics import Metrics


class CosineSimilarity(ValueHead):
    """Siamese similarity: scale * relu(cos(f(u), f(v))), f two fully connected layers; mean squared error.

    Source: Multi-BERT paper, Figure 2, which leaves open what stands between the two layers: `hidden_activation`.
    ReLU ties all negative cosines at 0 and gives them no gradient, hence the other activations. The share of such dead
    pairs is among the metrics.

    Args:
        hidden_size: features of a sentence vector.
        scale: the largest label; labels run from `min` to it.
        min: the smallest label.
        activation: from the cosine c to the prediction over scale: `relu` max(c, 0); `affine` (c + 1) / 2; `clamp` c in
            training and cut to [0, 1] in prediction; `none` c.
        hidden_activation: between the two layers.
        init: `identity` starts both layers as the identity, hence at the encoder's own cosine where nothing stands
            between them; `random` draws them.
    """

    sides = ("first", "second")

    def __init__(
        self,
        hidden_size: int,
        *,
        scale: Annotated[float, Field(allow_inf_nan=False)] = 5.0,
        min: Annotated[float, Field(allow_inf_nan=False)] = 0.0,
        activation: Literal["relu", "affine", "clamp", "none"] = "relu",
        hidden_activation: Literal["relu", "none"] = "relu",
        init: Literal["random", "identity"] = "random",
    ) -> None:
        super().__init__(scale, min)
        self.activation = activation
        self.first = nn.Linear(hidden_size, hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size)
        self.between = nn.ReLU() if hidden_activation == "relu" else nn.Identity()
        if init == "identity":
            for layer in (self.first, self.second):
                start_identity(layer)

    def forward(
        self, u: Float[Tensor, "examples hidden"], v: Float[Tensor, "examples hidden"]
    ) -> Float[Tensor, " examples"]:
        """Return the cosines, from -1 to 1."""
        project = nn.Sequential(self.first, self.between, self.second)
        return nn.functional.cosine_similarity(project(u), project(v))

    def loss(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean squared error on the labels' scale."""
        return nn.functional.mse_loss(self._values(outputs, training=True), labels)

    def values(self, outputs: Float[Tensor, " examples"]) -> Float[Tensor, " examples"]:
        """Return the similarities that are predicted."""
        return self._values(outputs, training=False)

    def predict(self, outputs: Float[Tensor, " examples"]) -> Columns:
        """Return `pred`, the similarity, and `score`, the cosine before its activation."""
        values = self.values(outputs)
        return {"pred": values.double().tolist(), "score": outputs.double().tolist()}

    def metrics(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Metrics:
        """Return Pearson, Spearman, MSE, MAE, R^2, and under ReLU the share of dead pairs."""
        found = super().metrics(outputs, labels)
        if self.activation == "relu":
            found["dead_pairs"] = float((outputs <= 0).double().mean())
        return found

    def _values(self, cosines: Tensor, training: bool) -> Tensor:
        if self.activation == "relu" or (self.activation == "clamp" and not training):
            # A cosine may be above 1 by its rounding: no prediction may.
            cosines = cosines.clamp(min=0, max=None if training else 1)
        elif self.activation == "affine":
            cosines = (cosines + 1) / 2
        return self.on_scale(cosines)
