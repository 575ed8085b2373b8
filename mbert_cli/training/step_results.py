"""The losses of the latest steps, which are read and checked without making a GPU wait."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.finite import not_finite

LATE = 8
"""On a GPU, the results of a step are read after so many later steps have started."""


@dataclass(frozen=True)
class StepResult:
    """The losses of a step.

    Args:
        rows: number of rows of each task.
        losses: the loss of each task, before the update, without `loss_weight`.
    """

    rows: dict[str, int]
    losses: dict[str, float]


@dataclass(frozen=True)
class _Step:
    """A step whose results are not read yet.

    Args:
        position: the step's place in the run, for messages.
        rows: for each task of the step, the indices of its rows.
    """

    position: str
    rows: Mapping[str, np.ndarray]


class StepResults:
    """Reads and checks the losses of each step and the norm of its gradients.

    On a CPU, this happens at once, before weights change. On a GPU, the CPU would wait until the value is computed, and
    then the GPU would wait for more work. So the results of a step are read after `LATE` later steps have started. In
    between, a flag on the GPU makes the optimizer skip its update if a value is not finite: see `check`. A CUDA graph
    can contain `receive` and `check`. The other methods compute nothing on the GPU.

    Args:
        recipe: the recipe.
        lines: for each task, the line of the training file at which each example begins.
        device: the device of the losses.

    Attributes:
        values: on a GPU: the losses of the latest step, and the norm of its gradients if it was computed.
    """

    values: Float[Tensor, " values"]

    def __init__(self, recipe: Recipe, lines: Mapping[str, Sequence[int]], device: torch.device) -> None:
        self._recipe = recipe
        self._lines = lines
        self._found_inf = torch.zeros((), device=device) if _reads_late(device) else None
        self._results: list[StepResult] = []
        self._unread: deque[tuple[_Step, Tensor, torch.cuda.Event]] = deque()

    def start(self, position: str, rows: Mapping[str, np.ndarray]) -> None:
        """Begin a step.

        Args:
            position: the step's place in the run, for messages.
            rows: for each task of the step, the indices of its rows, in the order of the losses.
        """
        self._step = _Step(position, rows)

    def receive(self, losses: Mapping[str, Tensor]) -> None:
        """Receive the losses of the step, before its gradients are computed.

        Raises:
            NotFiniteError: on a CPU: a loss is not finite.
        """
        # Detached, because a CUDA graph must not share the nodes of autograd.
        self._losses = [loss.detach() for loss in losses.values()]
        if self._found_inf is None:
            self._results.append(self._checked(self._step, [float(loss.numpy()) for loss in self._losses]))

    def check(self, norm: Float[Tensor, ""] | None) -> Float[Tensor, ""] | None:
        """Receive the norm of the step's gradients, before its update.

        Args:
            norm: the norm; None if it is not computed.

        Returns:
            On a GPU, 1 if a value is not finite, in this step or in an earlier one; otherwise 0. On a CPU None.

        Raises:
            NotFiniteError: on a CPU: the norm is not finite.
        """
        if self._found_inf is None:
            if norm is not None:
                self._check_norm(self._step, float(norm.numpy()))
            return None
        self.values = torch.stack(self._losses if norm is None else [*self._losses, norm])
        # In place: a CUDA graph always writes to the same memory.
        self._found_inf.copy_(torch.maximum(self._found_inf, (~self.values.isfinite().all()).to(torch.float32)))
        return self._found_inf

    def finish(self) -> None:
        """Start to copy the step's `values` from a GPU to the CPU."""
        if self._found_inf is None:
            return
        on_host = self.values.to("cpu", non_blocking=True, copy=True)  # to pinned memory
        copied = torch.cuda.Event()
        copied.record()
        self._unread.append((self._step, on_host, copied))

    def read(self, late: int = 0) -> list[StepResult]:
        """Return the results of the steps that were not returned before, in order, except those of the last `late`.

        Raises:
            NotFiniteError: a loss or a norm is not finite; no weight was changed in that step and after it.
        """
        while len(self._unread) > late:
            step, on_host, copied = self._unread.popleft()
            copied.synchronize()
            losses, norms = np.split(on_host.numpy(), [len(step.rows)])
            self._results.append(self._checked(step, losses.tolist()))
            for norm in norms.tolist():
                self._check_norm(step, norm)
        results, self._results = self._results, []
        return results

    def _checked(self, step: _Step, values: Sequence[float]) -> StepResult:
        losses = dict(zip(step.rows, values, strict=True))
        for task, value in losses.items():
            self._check(f"the loss of task {task}", value, step.position, {task: step.rows[task]})
        return StepResult({task: len(own) for task, own in step.rows.items()}, losses)

    def _check_norm(self, step: _Step, norm: float) -> None:
        self._check("the gradient's norm", norm, step.position, step.rows)

    def _check(self, what: str, value: float, position: str, rows: Mapping[str, np.ndarray]) -> None:
        if math.isfinite(value):
            return
        places = "; ".join(
            f"task {task}, {self._recipe.tasks[task].train}, rows at lines "
            + ", ".join(str(self._lines[task][row]) for row in indices)
            for task, indices in rows.items()
        )
        raise not_finite(f"{position}: {what} is {value} ({places}); nothing was changed.")


def _reads_late(device: torch.device) -> bool:
    return device.type == "cuda"
