"""Loss balancing: how the losses of the tasks of a step become one objective.

To add a method, add one file here. For `{kind: total}`, the file is `total.py` and the class is `Total`: the kind
without underscores, in any capitals. The base classes are `LossBalancing` and `LearnedBalancing` in this file. The
constructor takes the goal of each task; its keyword-only parameters are the options in a recipe.
`tests/loss_balancing/test_loss_balancing.py` tests every file here. The users' list is in `guide/recipes.md`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.metrics import Goal

Losses = Mapping[str, Float[Tensor, ""]]
"""The mean loss of each task's batch, in the order of the recipe's tasks."""


@dataclass(frozen=True)
class Shared:
    """Parameters that all tasks of a step train together.

    Args:
        parameters: the shared parameters that train; empty if only task-specific parameters train.
        last_weight: the weight of the last shared layer, the one nearest to the task-specific parts; None if it does
            not train.
        seed: a number that differs in every step, for random choices.
        add_all: replaces dense gradients by their sums over all processes of the run.
    """

    parameters: Sequence[Tensor]
    last_weight: Tensor | None
    seed: int = 0
    add_all: Callable[[Sequence[Tensor]], None] = lambda _: None


class LossBalancing(nn.Module, ABC):
    """Combines the losses of the tasks in a step.

    It receives each loss multiplied by the `loss_weight` of its task. It is used only in steps that contain all tasks.
    A step of one task minimises the loss of that task. All
    state between steps is stored in parameters and buffers, so it is part of the run's saved state. The recipe's
    learning rates, schedule, weight decay and clip_norm do not apply to them.

    If several processes train together, a loss has the value over all of them, and the gradient of the own examples.
    The gradients in `.grad` are summed over the processes after `backward`. A method that uses gradients must sum them
    with `Shared.add_all` first.

    Args:
        tasks: the goal of each task, in the order of the recipe.
    """

    sums_shared: ClassVar[bool] = False
    """Whether `backward` sums the gradients of the shared parameters over all processes."""
    on_device: ClassVar[bool] = True
    """Whether `backward` and `after_step` can be part of a CUDA graph: they read no tensor on the CPU, and no seed."""
    cancels_factors: ClassVar[bool] = False
    """Whether it learns weights that cancel a constant factor of a task's loss, such as `loss_weight`."""

    def __init__(self, tasks: Mapping[str, Goal]) -> None:
        super().__init__()
        self.num_tasks = len(tasks)

    @abstractmethod
    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the balanced loss."""

    def fixed_weights(self) -> Float[Tensor, " tasks"] | None:
        """Return the weight of each task's loss in the gradient, if it does not depend on the losses of the step.

        The default is None: the weights depend on the losses or on their gradients. With `training.accumulate`, such a
        method computes micro-batches several times; see `training.micro_batches`.
        """
        return None

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Store the gradients of the balanced objective in `.grad` of the network's parameters, which is None before.

        Args:
            losses: finite losses with their autograd graph.
            shared: the parameters that all tasks train.
        """
        self(losses).backward()

    def after_step(self, losses_again: Callable[[], Losses]) -> None:
        """Update the weights after the optimizer's step.

        Args:
            losses_again: computes the losses of the same batch again, with the same dropout masks.
        """

    def end_epoch(self) -> None:
        """Update the weights after an epoch. Called after every epoch, even if no step of it used the balancing."""


class LearnedBalancing(LossBalancing):
    """A balancing that learns one value per task with a separate Adam optimizer (Kingma & Ba 2015).

    The values and Adam's moments are tensors of the module, so they are saved and resumed with it.

    Args:
        tasks: the goal of each task, in the order of the recipe.
        start: the initial value for every task.
        learning_rate: learning rate of Adam.
        decay: L2 decay towards 0: decay * value is added to the gradient of a value.
    """

    first_moment: Tensor
    second_moment: Tensor
    updates: Tensor

    def __init__(self, tasks: Mapping[str, Goal], start: float, learning_rate: float, decay: float = 0.0) -> None:
        super().__init__(tasks)
        self.learning_rate = learning_rate
        self.decay = decay
        self.values = nn.Parameter(torch.full((len(tasks),), start))
        self.register_buffer("first_moment", torch.zeros(len(tasks)))
        self.register_buffer("second_moment", torch.zeros(len(tasks)))
        self.register_buffer("updates", torch.tensor(0))

    def descend(self, gradient: Float[Tensor, " tasks"]) -> None:
        """Take one step of Adam; skip the step if the gradient is not finite.

        Training checks that the loss is finite before the update of a step. This gradient is computed later: from
        gradients that may overflow, or from the losses after the update. The check of the next step reports the error.
        """
        beta_1, beta_2 = 0.9, 0.999
        with torch.no_grad():
            finite = gradient.isfinite().all()
            gradient = gradient + self.decay * self.values
            updates = self.updates + 1
            count = updates.double()  # in fp32, 1 - .999^1 has only four correct digits
            first = self.first_moment.lerp(gradient, 1 - beta_1)
            second = self.second_moment.lerp(gradient.square(), 1 - beta_2)
            mean, square = first / (1 - beta_1**count), second / (1 - beta_2**count)
            values = self.values - self.learning_rate * mean / (square.sqrt() + 1e-8)
            old = (self.updates, self.first_moment, self.second_moment, self.values)
            # Not `if finite`, which would wait for a GPU.
            for tensor, new in zip(old, (updates, first, second, values), strict=True):
                tensor.copy_(torch.where(finite, new, tensor))


def stacked(losses: Losses) -> Float[Tensor, " tasks"]:
    """Return the losses as one vector."""
    return torch.stack(list(losses.values()))
