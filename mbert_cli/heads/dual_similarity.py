"""Similarity of sentence pairs on a scale; a pair is read as two sequences and as one."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.encoder.initialisation import start_identity
from mbert_cli.encoder.late_interaction import LateLogit
from mbert_cli.heads import Columns, Limit, ScaleHead
from mbert_cli.heads.regression import Regression

# Initial values of a and b: a cosine of 1 gives 95 % of the scale, a cosine of 0 gives 5 %.
_SLOPE, _OFFSET = 6.0, -3.0


class DualSimilarity(ScaleHead):
    """Siamese cosine, cross-encoder and late interaction together: the scale at the hard sigmoid of their mean logit.

    The Siamese logit is a cos(f(u), f(v)) + b for the vectors u and v of the two sentences; a and b are learned, and f
    is a linear layer that starts as the identity. The cross-encoder logit is w . x + c for the vector x of both
    sentences as one sequence; see `Regression`. The optional late-interaction logit comes from MaxSim of the
    sentences' tokens; see `late_interaction`.

    The loss is the mean of the parts' losses, so each part learns the task by itself. In the losses, the sigmoid of a
    logit is its share of the scale. The parts make different errors, and their mean makes fewer. In prediction the
    share is the hard sigmoid of the mean logit z: z / 6 + 1 / 2, cut to [0, 1]. It is piecewise linear, because human
    judgements of similarity are nearly linear in the cosine. The encoder reads each example twice.

    Dropout makes the tokens of two texts less similar. MaxSim is therefore smaller in training than in prediction, and
    predictions are too large. Use late interaction for tasks that are scored by correlation, not by squared error.

    Args:
        hidden_size: number of features of a sentence vector.
        min: the smallest label.
        max: the largest label, by default 5.
        scale: an older name of max.
        loss: `cross_entropy` or `squared_error`; see `Regression`.
        dropout: probability of dropping a feature of x in training.
        late_interaction: add the late-interaction logit; it costs almost no time.
    """

    sides = ("first", "second", "whole")

    def __init__(
        self,
        hidden_size: int,
        *,
        min: Limit = 0.0,
        max: Limit | None = None,
        scale: Limit | None = None,
        loss: Literal["cross_entropy", "squared_error"] = "cross_entropy",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        late_interaction: bool = False,
    ) -> None:
        super().__init__(self.labels_from(min, max, scale))
        self.projection = nn.Linear(hidden_size, hidden_size)
        start_identity(self.projection)
        self.slope = nn.Parameter(torch.tensor(_SLOPE))
        self.offset = nn.Parameter(torch.tensor(_OFFSET))
        self.joined = Regression(hidden_size, min=min, max=self.labels.high, loss=loss, dropout=dropout)
        self.late_interaction = late_interaction
        self.late = LateLogit() if late_interaction else None

    def forward(
        self,
        u: Float[Tensor, "examples hidden"],
        v: Float[Tensor, "examples hidden"],
        x: Float[Tensor, "examples hidden"],
        similarity: Float[Tensor, " examples"] | None = None,
    ) -> Float[Tensor, "examples parts"]:
        """Return the logits: cross-encoder, Siamese, and late interaction if there is one."""
        cosine = nn.functional.cosine_similarity(self.projection(u), self.projection(v))
        logits = [self.joined(x), self.slope * cosine + self.offset]
        if self.late is not None:
            logits.append(self.late(similarity))
        return torch.stack(logits, -1)

    def loss(self, outputs: Float[Tensor, "examples parts"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean of the parts' losses."""
        return self.joined.loss(outputs.flatten(), labels.repeat_interleave(outputs.shape[1]))

    def values(self, outputs: Float[Tensor, "examples parts"]) -> Float[Tensor, " examples"]:
        """Return the predicted similarities."""
        return self.on_scale(_shares(outputs))

    def predict(self, outputs: Float[Tensor, "examples parts"]) -> Columns:
        """Return `pred`, the similarity, and `score`, its share of the scale."""
        shares = _shares(outputs.double())
        return {"pred": self.on_scale(shares).tolist(), "score": shares.tolist()}


def _shares(outputs: Float[Tensor, "examples parts"]) -> Float[Tensor, " examples"]:
    """Return the shares of the scale."""
    return nn.functional.hardsigmoid(outputs.mean(1))
