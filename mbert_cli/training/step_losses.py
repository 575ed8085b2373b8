"""The losses of the tasks in an optimizer step."""

import signal
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from mbert_cli.encoder.dropout import keyed
from mbert_cli.machine import signals
from mbert_cli.machine.process_group import Processes
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.distillation import SoftLabels
from mbert_cli.training.micro_batches import accumulate, summed_losses
from mbert_cli.training.portion import Portion, with_value


class StepLosses:
    """Computes the mean loss of each task over the whole batch of a step, over all processes.

    Args:
        model: the model.
        recipe: the recipe.
        total_steps: number of steps of the run.
        processes: the processes that train together.
    """

    def __init__(self, model: MultiTaskBert, recipe: Recipe, total_steps: int, processes: Processes) -> None:
        self._model = model
        self._seed = recipe.training.seed
        self._processes = processes
        self._soft_labels = SoftLabels({name: task.soft_labels for name, task in recipe.tasks.items()}, total_steps)
        self.stop: int | None = None  # the signal that stops the run, if another process may have received it
        self.sites = 0  # number of dropout sites in the last forward pass

    def __call__(self, portions: Sequence[Portion], step: int, keys: Tensor | None = None) -> dict[str, Tensor]:
        """Return the losses with their autograd graph. A second call in the same step draws the same dropout.

        Args:
            portions: the parts of the batch that this process computes.
            step: number of the batch in the run.
            keys: the keys of the step's dropout, if they are already on the device; see `keyed`.
        """
        return self._over_processes(summed_losses(partial(self._part, step, keys), portions))

    def accumulate(
        self, portions: Sequence[Portion], step: int, weights: Mapping[str, Tensor | float]
    ) -> dict[str, Tensor]:
        """Add the gradients of a weighted sum of the losses to `.grad`; return the losses.

        The losses are leaves of a graph. A backward pass through them does not reach the model.

        Args:
            portions: the parts of the batch that this process computes.
            step: number of the batch in the run.
            weights: the weight of each task's loss.
        """
        losses = accumulate(partial(self._part, step, None), portions, weights)
        return self._over_processes({task: loss.requires_grad_() for task, loss in losses.items()})

    def _part(self, step: int, keys: Tensor | None, portion: Portion) -> dict[str, Tensor]:
        """Return what a part of the batch contributes to the losses."""
        with keyed(self._seed, step, keys) as sites:
            outputs = self._model(portion.batch)
        self.sites = sites()
        heads = {task: self._model.head(task) for task in portion.batch.tasks}
        return {task: self._soft_labels.loss(head, outputs[task], portion, task, step) for task, head in heads.items()}

    def _over_processes(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return losses with the values over all processes."""
        if self._processes.is_alone:
            return losses
        # The signal that a process has received travels with the losses, so that all processes stop after this step.
        received = signals.received()
        flag = torch.tensor(received is not None, device=next(iter(losses.values())).device)
        *values, stops = self._processes.add(torch.stack([*losses.values(), flag]).detach()).unbind()
        if stops > 0:
            self.stop = received or signal.SIGTERM
        return {task: with_value(loss, value) for (task, loss), value in zip(losses.items(), values, strict=True)}
