"""Similarity of sentence pairs on a scale, read apart and as one sequence."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.heads import Columns, Head
from mbert_cli.heads.regression import Regression
from mbert_cli.metrics import Metrics

# Shares of the scale that cosines of 0 and 1 stand for at first. MaxSim is seldom near 0: each token finds some other.
_COSINE, _LATE = (0.05, 0.95), (-0.37, 0.98)
_MARGIN = 0.01  # of the scale at either end; beyond it a share has no logit


class _Share(nn.Module):
    """The share of the scale that a cosine stands for, a c + b; a and b are learnt.

    A line, and no sigmoid: people's judgements are nearly linear in cosines.

    Args:
        at_0: the share of 0 at first.
        at_1: the share of 1.
    """

    def __init__(self, at_0: float, at_1: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(at_1 - at_0))
        self.offset = nn.Parameter(torch.tensor(at_0))

    def forward(self, cosine: Float[Tensor, " examples"]) -> Float[Tensor, " examples"]:
        """Return the shares, which may leave [0, 1] a little."""
        return self.slope * cosine + self.offset


class DualSimilarity(Head):
    """Cross-encoder and Siamese cosine side by side, and late interaction: scale * sigmoid of the mean of their logits.

    The cross-encoder's logit is w . x + c of the vector x of both sentences in one sequence, see `Regression`. The
    Siamese part is a share of the scale, p = a cos(f(u), f(v)) + b, of both sentences read apart, f a linear layer that
    starts as the identity, and a, b learnt; so is late interaction, which may be left out, with their tokens' MaxSim in
    the place of the cosine, see `late_interaction`. A share's logit is log(p / (1 - p)), p held between .01 and .99.

    Each part is trained on its own, by the mean of their losses: so they err differently, and their mean errs less. The
    encoder reads an example twice.

    Args:
        hidden_size: features of a sentence vector.
        scale: the largest label; labels run from 0 to it.
        loss: `cross_entropy` or `squared_error`; see `Regression`. Where it is cross-entropy, that of a share p of
            label / scale = t is 2 (p - t)^2, which is as curved as cross-entropy is at the middle of the scale.
        dropout: probability of dropping a feature of x in training.
        late_interaction: whether there is that part, which costs next to nothing.
    """

    sides = ("first", "second", "whole")
    goal = "regression"
    main_metric = Regression.main_metric
    metric_names = Regression.metric_names

    def __init__(
        self,
        hidden_size: int,
        *,
        scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0,
        loss: Literal["cross_entropy", "squared_error"] = "cross_entropy",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        late_interaction: bool = False,
    ) -> None:
        super().__init__()
        self.joined = Regression(hidden_size, scale=scale, loss=loss, dropout=dropout)
        self.projection = nn.Linear(hidden_size, hidden_size)
        nn.init.eye_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        self.apart = _Share(*_COSINE)
        self.late_interaction = late_interaction
        self.late = _Share(*_LATE) if late_interaction else None

    def forward(
        self,
        u: Float[Tensor, "examples hidden"],
        v: Float[Tensor, "examples hidden"],
        x: Float[Tensor, "examples hidden"],
        similarity: Float[Tensor, " examples"] | None = None,
    ) -> Float[Tensor, "examples parts"]:
        """Return the cross-encoder's logit, the Siamese share of the scale, and that of late interaction."""
        cosine = nn.functional.cosine_similarity(self.projection(u), self.projection(v))
        parts = [self.joined(x), self.apart(cosine)]
        if self.late is not None:
            parts.append(self.late(similarity))
        return torch.stack(parts, -1)

    def parse_label(self, text: str) -> float:
        """Return the similarity.

        Raises:
            ValueError: it is not a number from 0 to scale.
        """
        return self.joined.parse_label(text)

    def loss(self, outputs: Float[Tensor, "examples parts"], labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean of the parts' losses."""
        errors = (outputs[:, 1:] - labels[:, None] / self.joined.scale).square().mean(0)
        weight = 2.0 if self.joined.loss_kind == "cross_entropy" else self.joined.scale**2
        return (self.joined.loss(outputs[:, 0], labels) + weight * errors.sum()) / outputs.shape[1]

    def values(self, outputs: Float[Tensor, "examples parts"]) -> Float[Tensor, " examples"]:
        """Return the similarities that are predicted."""
        return self.joined.values(_logit(outputs))

    def predict(self, outputs: Float[Tensor, "examples parts"]) -> Columns:
        """Return `pred`, the similarity, and `score`, its share of the scale."""
        return self.joined.predict(_logit(outputs))

    def metrics(self, outputs: Float[Tensor, "examples parts"], labels: Float[Tensor, " examples"]) -> Metrics:
        """Return Pearson, Spearman, MSE, MAE and R^2."""
        return self.joined.metrics(_logit(outputs), labels)


def _logit(outputs: Float[Tensor, "examples parts"]) -> Float[Tensor, " examples"]:
    """Return the mean of the parts' logits."""
    shares = outputs[:, 1:].clamp(_MARGIN, 1 - _MARGIN)
    return torch.cat([outputs[:, :1], shares.logit()], 1).mean(1)
