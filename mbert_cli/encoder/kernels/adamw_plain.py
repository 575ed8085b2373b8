"""The function `replay` of `adamw_loops` in PyTorch, for GPUs and for machines without Numba."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

REPLAYED = 128
"""After this many steps without gradient, Adam's mean has shrunk by the factor .9^128 = 1e-6. It would change a value
by less than the last bit, so only weight decay is applied from then on."""


def replay(
    table: Float[Tensor, "rows hidden"],
    means: Float[Tensor, "rows hidden"],
    squares: Float[Tensor, "rows hidden"],
    current: Int[Tensor, " rows"],
    rows: Int[Tensor, " some"],
    now: int,
    logs: np.ndarray,
    decays: np.ndarray,
    rates: np.ndarray,
    roots: np.ndarray,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Apply the steps up to `now` in which rows had no gradient; see `adamw_loops.replay` for the arguments."""
    known, device = len(decays), table.device
    rows = rows.to(device)
    first = current[rows].cpu().numpy() - (now - known)  # counted from the first known step
    last = np.minimum(known, first + REPLAYED)
    value, mean, root = table[rows], means[rows], squares[rows].sqrt()

    def column(numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers).to(device, torch.float32)[:, None]

    for offset in range(int((last - first).max(initial=0))):
        late = first + offset < last
        step = np.where(late, first + offset, 0)
        mean = mean * column(np.where(late, betas[0], 1.0))
        root = root * column(np.where(late, betas[1] ** 0.5, 1.0))
        change = mean / (root * column(roots[step]) + eps)
        value = value * column(np.where(late, decays[step], 1.0)) - change * column(np.where(late, rates[step], 0.0))
    rest = (known - last).astype(np.float64)
    table[rows] = value * column(np.exp(logs[known] - logs[last]))
    means[rows] = mean * column(betas[0] ** rest)
    squares[rows] = root * root * column(betas[1] ** rest)
    current[rows] = now
