"""Similarity of sentence pairs on a scale, read apart and as one sequence."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.encoder.initialisation import start_identity
from mbert_cli.encoder.late_interaction import LateLogit
from mbert_cli.heads import Columns, ValueHead
from mbert_cli.heads.regression import Regression

# Where the cosine's logit starts: a cosine of 1 is 95 % of the scale, one of 0 is 5 %.
_SLOPE, _OFFSET = 6.0, -3.0


class DualSimilarity(ValueHead):
    """Siamese cosine and cross-encoder side by side, and late interaction: scale times the hard sigmoid of their mean.

    The Siamese part's logit is a cos(f(u), f(v)) + b of both sentences read apart, a and b learnt and f a linear layer
    that starts as the identity; the cross-encoder's w . x + c of the vector x of both in one sequence, see
    `Regression`; that of late interaction, which may be left out, is of their tokens' MaxSim, see `late_interaction`.

    Each part is trained on its own, by the mean of their losses, in which a logit's share of the scale is its sigmoid:
    so they err differently, and their mean errs less. In prediction the share is that of the mean logit z, and the
    sigmoid's piecewise linear likeness, z / 6 + 1 / 2 within [0, 1], for what people judge is nearly linear in cosines.
    The encoder reads an example twice.

    Dropout parts the tokens of two texts, so that MaxSim is smaller in training than in prediction and its share is too
    large there: it is for tasks where correlation counts, not squared error.

    Args:
        hidden_size: features of a sentence vector.
        scale: the largest label; labels run from `min` to it.
        min: the smallest label.
        loss: `cross_entropy` or `squared_error`; see `Regression`.
        dropout: probability of dropping a feature of x in training.
        late_interaction: whether there is that part, which costs next to nothing.
    """

    sides = ("first", "second", "whole")

    def __init__(
        self,
        hidden_size: int,
        *,
        scale: Annotated[float, Field(allow_inf_nan=False)] = 5.0,
        min: Annotated[float, Field(allow_inf_nan=False)] = 0.0,
        loss: Literal["cross_entropy", "squared_error"] = "cross_entropy",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        late_interaction: bool = False,
    ) -> None:
        super().__init__(scale, min)
        self.projection = nn.Linear(hidden_size, hidden_size)
        start_identity(self.projection)
        self.slope = nn.Parameter(torch.tensor(_SLOPE))
        self.offset = nn.Parameter(torch.tensor(_OFFSET))
        self.joined = Regression(hidden_size, scale=scale, min=min, loss=loss, dropout=dropout)
        self.late_interaction = late_interaction
        self.late = LateLogit() if late_interaction else None

    def forward(
        self,
        u: Float[Tensor, "examples hidden"],
        v: Float[Tensor, "examples hidden"],
        x: Float[Tensor, "examples hidden"],
        similarity: Float[Tensor, " examples"] | None = None,
    ) -> Float[Tensor, "examples parts"]:
        """Return the logits: the cross-encoder's, the Siamese one, that of late interaction."""
        cosine = nn.functional.cosine_similarity(self.projection(u), self.projection(v))
        logits = [self.joined(x), self.slope * cosine + self.offset]
        if self.late is not None:
            logits.append(self.late(similarity))
        return torch.stack(logits, -1)

    def loss(self, outputs: Float[Tensor, "examples parts"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean of the parts' losses."""
        return self.joined.loss(outputs.flatten(), labels.repeat_interleave(outputs.shape[1]))

    def values(self, outputs: Float[Tensor, "examples parts"]) -> Float[Tensor, " examples"]:
        """Return the similarities that are predicted."""
        return self.on_scale(_shares(outputs))

    def predict(self, outputs: Float[Tensor, "examples parts"]) -> Columns:
        """Return `pred`, the similarity, and `score`, its share of the scale."""
        shares = _shares(outputs.double())
        return {"pred": self.on_scale(shares).tolist(), "score": shares.tolist()}


def _shares(outputs: Float[Tensor, "examples parts"]) -> Float[Tensor, " examples"]:
    """Return the shares of the scale."""
    return nn.functional.hardsigmoid(outputs.mean(1))
