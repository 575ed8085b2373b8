"""Late interaction: how similar two texts are token by token, after the encoder has read each alone."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mbert_cli.batch import Layout, as_tensor

# A step of the optimizer moves the logit as much as ten of a plain slope would: cosines lie close together.
_STEEPNESS = 10.0
# Where the logit is 0 at first: between texts that have little and that have much in common.
_MIDDLE = 0.6
_BELOW_ALL = -2.0  # less than any cosine


class LateLogit(nn.Module):
    """A logit of MaxSim m: 10 (a m - b); a and b are learnt, 1 and .6 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))
        self.middle = nn.Parameter(torch.tensor(_MIDDLE))

    def forward(self, similarity: Float[Tensor, " examples"]) -> Float[Tensor, " examples"]:
        """Return the logits."""
        return _STEEPNESS * (self.slope * similarity - self.middle)


def max_sim(h: Float[Tensor, "tokens hidden"], layout: Layout, examples: int) -> Float[Tensor, " examples"]:
    """Return MaxSim of pairs whose texts are packed one after another, in fp32 at least; see `padded_max_sim`.

    Args:
        h: the hidden states of all first texts, then of all second ones, then whatever else.
        layout: of `h`.
        examples: how many pairs.
    """
    lengths = layout.host_lengths[: 2 * examples]
    width = int(lengths.max(initial=1))
    real = np.arange(width) < lengths[:, None]
    slots = as_tensor(np.flatnonzero(real), h.device)
    wide = h[: int(lengths.sum())].to(torch.promote_types(h.dtype, torch.float32))
    units, size = nn.functional.normalize(wide, dim=-1), h.shape[1]
    # Every token goes to a place of its own, so that the way back is a plain gather: the same result on every run.
    padded = units.new_zeros(real.size, size).index_copy(0, slots, units).view(2, examples, width, size)
    masks = as_tensor(real, h.device).view(2, examples, width)
    return _mean_of_best(padded[0], padded[1], masks[0], masks[1])


def padded_max_sim(
    u: Float[Tensor, "examples width hidden"],
    v: Float[Tensor, "examples other hidden"],
    u_mask: Bool[Tensor, "examples width"],
    v_mask: Bool[Tensor, "examples other"],
) -> Float[Tensor, " examples"]:
    """Return MaxSim of pairs of texts: 1/2 (mean_i max_j cos(u_i, v_j) + mean_j max_i cos(u_i, v_j)), in [-1, 1].

    Every token seeks its like in the other text. All tokens count, [CLS] and [SEP] included, padding never.

    Source: Khattab & Zaharia 2020, "ColBERT", section 3.2, which sums over the one text's tokens; Zhang et al. 2020,
    "BERTScore", for both directions.

    Args:
        u: the hidden states of the first texts.
        v: of the second ones.
        u_mask: True at tokens of the first texts, of which each has one at least.
        v_mask: the same of the second ones.
    """
    normalize = nn.functional.normalize
    return _mean_of_best(normalize(u, dim=-1), normalize(v, dim=-1), u_mask, v_mask)


def _mean_of_best(u: Tensor, v: Tensor, u_mask: Tensor, v_mask: Tensor) -> Tensor:
    cosines = u @ v.transpose(1, 2)
    of_u = cosines.masked_fill(~v_mask[:, None, :], _BELOW_ALL).amax(2)
    of_v = cosines.masked_fill(~u_mask[:, :, None], _BELOW_ALL).amax(1)
    return (_mean(of_u, u_mask) + _mean(of_v, v_mask)) / 2


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    real = mask.to(values.dtype)
    return (values * real).sum(1) / real.sum(1)
