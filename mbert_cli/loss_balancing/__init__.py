"""Loss balancing: one file a method, its name the `kind` in a recipe; here are the contracts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.metrics import Goal

Losses = Mapping[str, Float[Tensor, ""]]
"""The mean loss of each task's batch, in the order of the recipe's tasks."""


@dataclass(frozen=True)
class Shared:
    """What the tasks of a step train together.

    Args:
        parameters: the shared parameters that train; empty where only the tasks' own do.
        last_weight: among them the weight of the last shared layer, the nearest one to the tasks' own parts; None where
            it does not train.
    """

    parameters: Sequence[Tensor]
    last_weight: Tensor | None


class LossBalancing(nn.Module, ABC):
    """Weighs the tasks of a step against each other.

    It is asked only where a step holds several tasks, and then the step holds all of them; a step of one task minimises
    that task's loss as it is. What it remembers between steps are its parameters and buffers, hence part of a run's
    state. None of it is touched by the recipe's learning rates, schedule, weight decay and clip_norm.

    Args:
        tasks: what each task's labels are, in the order of the recipe.
    """

    def __init__(self, tasks: Mapping[str, Goal]) -> None:
        super().__init__()
        self.num_tasks = len(tasks)

    @abstractmethod
    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the balanced loss."""

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Leave the gradients of the balanced objective in `.grad` of the network's parameters; they hold none before.

        Args:
            losses: finite, with their graph.
            shared: what the tasks train together.
        """
        self(losses).backward()

    def after_step(self, losses_again: Callable[[], Losses]) -> None:
        """Learn from what the optimizer's step did.

        Args:
            losses_again: computes the losses of the same batch anew, under the same dropout.
        """

    def end_epoch(self) -> None:
        """Learn from an epoch that ended; it is told of every epoch, also where it was not asked in any step."""


class LearnedBalancing(LossBalancing):
    """A balancing that learns one value a task with an Adam (Kingma & Ba 2015) of its own.

    The values and Adam's moments are tensors of the module, hence saved and resumed with it.

    Args:
        tasks: what each task's labels are, in the order of the recipe.
        start: every value's first one.
        learning_rate: Adam's.
        decay: pulls the values to 0: this times the value is added to its gradient.
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
        """Take one step of Adam; a gradient that is not finite changes nothing.

        The loss of a step is checked before its update, but what is learnt from comes later: from gradients that
        overflow, or from the losses after an update that went wrong. The next step's check shall find it.
        """
        if not gradient.isfinite().all():
            return
        beta_1, beta_2 = 0.9, 0.999
        with torch.no_grad():
            gradient = gradient + self.decay * self.values
            self.updates += 1
            count = self.updates.double()  # 1 - .999^1 has four digits in fp32
            self.first_moment.lerp_(gradient, 1 - beta_1)
            self.second_moment.lerp_(gradient.square(), 1 - beta_2)
            mean = self.first_moment / (1 - beta_1**count)
            square = self.second_moment / (1 - beta_2**count)
            self.values.sub_(self.learning_rate * mean / (square.sqrt() + 1e-8))


def stacked(losses: Losses) -> Float[Tensor, " tasks"]:
    """Return the losses as one vector."""
    return torch.stack(list(losses.values()))
