"""Late interaction: token-by-token similarity of two texts that the encoder reads separately."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mbert_cli.batch import Layout, as_tensor

# Cosines are close together. The factor 10 makes one step of the optimizer change the logit as much as ten steps.
_STEEPNESS = 10.0
# The initial zero of the logit: between the MaxSim of texts with little and with much in common.
_MIDDLE = 0.6
_BELOW_ALL = -2.0  # less than any cosine


class LateLogit(nn.Module):
    """A logit from MaxSim m: 10 (a m - b); a and b are learned, with initial values 1 and .6."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))
        self.middle = nn.Parameter(torch.tensor(_MIDDLE))

    def forward(self, similarity: Float[Tensor, " examples"]) -> Float[Tensor, " examples"]:
        """Return the logits."""
        return _STEEPNESS * (self.slope * similarity - self.middle)


def max_sim(h: Float[Tensor, "tokens hidden"], layout: Layout, examples: int) -> Float[Tensor, " examples"]:
    """Return MaxSim of pairs of packed texts, in at least fp32; see `padded_max_sim`.

    Args:
        h: the hidden states of all first texts, then of all second texts; the rest is ignored.
        layout: layout of `h`.
        examples: number of pairs.
    """
    lengths = layout.host_lengths[: 2 * examples]
    width = int(lengths.max(initial=1))
    real = np.arange(width) < lengths[:, None]
    slots = as_tensor(np.flatnonzero(real), h.device)
    wide = h[: int(lengths.sum())].to(torch.promote_types(h.dtype, torch.float32))
    units, size = nn.functional.normalize(wide, dim=-1), h.shape[1]
    # Every token has a separate slot, so the backward pass is a plain gather and deterministic.
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

    Every token is matched with the most similar token of the other text. All tokens count, including [CLS] and [SEP],
    but not padding.

    Source: Khattab & Zaharia 2020, "ColBERT", section 3.2, which sums over the tokens of one text; Zhang et al. 2020,
    "BERTScore", for both directions.

    Args:
        u: the hidden states of the first texts.
        v: the hidden states of the second texts.
        u_mask: True at tokens of the first texts, False at padding; each text has at least one token.
        v_mask: the same for the second texts.
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
