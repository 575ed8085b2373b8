"""Similarity of sentence pairs on a scale."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.cosine import cosines
from mbert_cli.encoder.initialisation import start_identity
from mbert_cli.heads import Columns, Limit, ScaleHead
from mbert_cli.metrics import Metrics


class CosineSimilarity(ScaleHead):
    """Siamese similarity: min + (max - min) relu(cos(f(u), f(v))), where f is two fully connected layers.

    The loss is the mean squared error.

    Source: Multi-BERT paper, Figure 2. The paper does not say what is between the two layers: `hidden_activation`.
    ReLU maps all negative cosines to 0, and they get no gradient; the other activations avoid this. The metrics
    include the share of such pairs, `dead_pairs`.

    Args:
        hidden_size: number of features of a sentence vector.
        min: the smallest label.
        max: the largest label, by default 5.
        scale: an older name of max.
        activation: maps the cosine c to a share of the scale: `relu` max(c, 0); `affine` (c + 1) / 2; `clamp` c in
            training, and c cut to [0, 1] in prediction; `none` c.
        hidden_activation: activation between the two layers.
        init: initial values of both layers. `identity` is the identity matrix: without a hidden activation, training
            starts at the encoder's own cosine. `random` is random.
    """

    sides = ("first", "second")

    def __init__(
        self,
        hidden_size: int,
        *,
        min: Limit = 0.0,
        max: Limit | None = None,
        scale: Limit | None = None,
        activation: Literal["relu", "affine", "clamp", "none"] = "relu",
        hidden_activation: Literal["relu", "none"] = "relu",
        init: Literal["random", "identity"] = "random",
    ) -> None:
        super().__init__(self.labels_from(min, max, scale))
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
        if torch.is_grad_enabled():
            return cosines(project(torch.cat([u, v])))
        return nn.functional.cosine_similarity(project(u), project(v))

    def loss(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean squared error on the labels' scale."""
        return nn.functional.mse_loss(self._values(outputs, training=True), labels)

    def values(self, outputs: Float[Tensor, " examples"]) -> Float[Tensor, " examples"]:
        """Return the predicted similarities."""
        return self._values(outputs, training=False)

    def predict(self, outputs: Float[Tensor, " examples"]) -> Columns:
        """Return `pred`, the similarity, and `score`, the cosine before its activation."""
        values = self.values(outputs)
        return {"pred": values.double().tolist(), "score": outputs.double().tolist()}

    def metrics(self, outputs: Float[Tensor, " examples"], labels: Float[Tensor, " examples"]) -> Metrics:
        """Return Pearson, Spearman, MSE, MAE and R^2, and with ReLU the share of dead pairs."""
        metrics = super().metrics(outputs, labels)
        if self.activation == "relu":
            metrics["dead_pairs"] = float((outputs <= 0).double().mean())
        return metrics

    def _values(self, cosines: Tensor, training: bool) -> Tensor:
        if self.activation == "relu" or (self.activation == "clamp" and not training):
            # Rounding can make a cosine larger than 1; a prediction must not exceed the scale.
            cosines = cosines.relu() if training else cosines.clamp(0, 1)
        elif self.activation == "affine":
            cosines = (cosines + 1) / 2
        return self.on_scale(cosines)
