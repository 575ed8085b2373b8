"""AdamW for embeddings, whose gradients are zero in most rows."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mbert_cli.encoder.kernels import adamw_plain, why_not_fused

_CHUNKS = 32  # number of parts that the rows are split into


class RowwiseAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov & Hutter 2019) with delayed updates for the rows of embedding tables.

    The gradient of an embedding table is 0 except in the rows of the tokens that occur. If the gradient is sparse, a
    step updates only these rows. In the steps that it skips, Adam's moments of a row shrink and the row still changes.
    These steps are replayed before the row is read again: call `catch_up` before each forward pass. Up to rounding, the
    result is that of AdamW with dense gradients, but time and memory traffic depend only on the rows that occur.

    A step changes nothing if `found_inf` is set to 1, as `torch.amp.GradScaler` does on a GPU. It divides dense
    gradients by `grad_scale` if that is set.

    On a GPU, the learning rates are in a tensor, `group_rates`, so that a CUDA graph reads new ones in each step. They
    are rounded to fp32.

    The state of a table has two additional tensors: `row_step`, the last step of each row, and `rates`, the learning
    rates of the latest steps, including all steps that a row may have skipped.

    Args:
        groups: parameter groups, as for PyTorch's AdamW.
        lr: learning rate of groups that do not set one.

    Attributes:
        found_inf: see above.
        grad_scale: see above.
        group_rates: on a GPU: the learning rate of each parameter group.
        updated: the parameters that the latest step updated.
    """

    found_inf: Tensor | None = None
    grad_scale: Tensor | None = None
    group_rates: Float[Tensor, " groups"] | None = None
    updated: Sequence[Tensor] = ()

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, lr=lr, fused=True, capturable=True)

    @torch.no_grad()
    def catch_up(self, rows: Int[Tensor, " rows"] | None = None) -> None:
        """Apply the steps that rows of the tables skipped.

        Args:
            rows: the rows that will be read; may repeat; all rows by default.
        """
        for group in self.param_groups:
            for table in group["params"]:
                state = self.state.get(table, {})
                if "row_step" not in state:
                    continue
                if table.device.type != "cpu":
                    # Gradients on a GPU are dense. To compare the steps before each forward pass would wait for it.
                    self._take_dense(table, group)
                elif (state["row_step"].numpy() < state["step"].numpy()).any():
                    self._replay(table, group, np.arange(len(table)) if rows is None else np.unique(rows.cpu()))
                    if rows is None:
                        state["rates"] = state["rates"][:0]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step with the current gradients."""
        assert closure is None, "gradients are already computed"
        sparse, updated = [], []
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None:
                    updated.append(parameter)
                if gradient is not None and gradient.is_sparse:
                    sparse.append((parameter, group, gradient))
                    parameter.grad = None
                elif gradient is not None and "row_step" in self.state.get(parameter, {}):
                    self._take_dense(parameter, group)
        groups, self.param_groups = self.param_groups, _merged(self.param_groups, self.group_rates)
        try:
            super().step()
        finally:
            self.param_groups = groups
        # PyTorch's fused kernel does not increment the version of a parameter, but cached copies are compared by it.
        torch.autograd.graph.increment_version(updated)
        self.updated = updated
        for table, group, gradient in sparse:
            self._take_rows(table, group, gradient.coalesce())
            table.grad = gradient

    def _take_dense(self, table: Tensor, group: dict[str, Any]) -> None:
        """Apply all skipped steps, so that a dense AdamW step can follow."""
        self._replay(table, group, np.arange(len(table)))
        del self.state[table]["row_step"], self.state[table]["rates"]

    def _take_rows(self, table: Tensor, group: dict[str, Any], gradient: Tensor) -> None:
        # Only the fused kernels produce sparse gradients, so Numba is available here.
        from mbert_cli.encoder.kernels.adamw_loops import update

        state = self._state_of(table)
        rows = gradient.indices()[0].numpy()
        self._replay(table, group, rows)
        state["step"] += 1
        state["rates"] = torch.from_numpy(np.append(state["rates"].numpy(), group["lr"]))
        now, (beta_1, beta_2) = int(state["step"].numpy()), group["betas"]
        update(
            *_arrays(table, state), rows, gradient.values().view(-1).numpy(), now,
            1 - group["lr"] * group["weight_decay"], group["lr"] / (1 - beta_1**now), 1 / math.sqrt(1 - beta_2**now),
            beta_1, beta_2, group["eps"], table.shape[1], _CHUNKS,
        )  # fmt: skip

    def _state_of(self, table: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[table]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        if "row_step" not in state:
            state["row_step"] = torch.full((len(table),), int(state["step"]))
            state["rates"] = torch.empty(0, dtype=torch.float64)
        return state

    def _replay(self, table: Tensor, group: dict[str, Any], rows: np.ndarray) -> None:
        state, (beta_1, beta_2) = self.state[table], group["betas"]
        now, rates = int(state["step"].cpu().numpy()), state["rates"].cpu().numpy()
        if not len(rates):
            return
        steps = np.arange(now - len(rates) + 1, now + 1)
        decays = 1 - rates * group["weight_decay"]
        constants = (
            np.append(0, np.cumsum(np.log(decays))), decays,
            rates / (1 - beta_1**steps), 1 / np.sqrt(1 - beta_2**steps),
        )  # fmt: skip
        # A run that began with the fused kernels may go on where they are not available.
        if table.device.type != "cpu" or why_not_fused(table.device):
            tensors = table.detach(), state["exp_avg"], state["exp_avg_sq"], state["row_step"]
            adamw_plain.replay(*tensors, torch.from_numpy(rows), now, *constants, group["betas"], group["eps"])
            return
        from mbert_cli.encoder.kernels.adamw_loops import replay

        replay(
            *_arrays(table, state), rows, now, len(rates), *constants,
            beta_1, beta_2, group["eps"], table.shape[1], _CHUNKS,
        )  # fmt: skip


def _merged(groups: Sequence[dict[str, Any]], group_rates: Tensor | None) -> list[dict[str, Any]]:
    """Return groups with the same options as one group, so that one operation updates all of it."""
    merged: dict[tuple[float, float], dict[str, Any]] = {}
    for index, group in enumerate(groups):
        # With `group_rates`, compare the rates before the schedule: a CUDA graph needs the same groups in all steps.
        rate = group["lr"] if group_rates is None else group["base_lr"]
        if (rate, group["weight_decay"]) not in merged:
            merged[rate, group["weight_decay"]] = {
                **group,
                "params": [],
                "lr": rate if group_rates is None else group_rates[index],
            }
        same = merged[rate, group["weight_decay"]]
        same["params"] += group["params"]
    return list(merged.values())


def _arrays(table: Tensor, state: dict[str, Tensor]) -> tuple[np.ndarray, ...]:
    """Return a table on the CPU, Adam's moments and the steps of the rows as flat arrays."""
    tensors = table.detach(), state["exp_avg"], state["exp_avg_sq"], state["row_step"]
    return tuple(tensor.view(-1).numpy() for tensor in tensors)
