"""The part of an optimizer step that runs on the device: losses, gradients, and the update of the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mbert_cli.batch import Batch, to_device
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.loss_balancing import Shared
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.randomness import derive
from mbert_cli.training.gradient_sum import sum_gradients
from mbert_cli.training.optimizer import Clipping
from mbert_cli.training.portion import Portion
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.step_losses import StepLosses
from mbert_cli.training.step_results import StepResults


class StepUpdate:
    """Computes the losses of a step, balances them, clips the gradients, and updates the weights.

    On a GPU, the CPU does not wait for any result.

    Args:
        setup: the model, the data and the recipe.
        device: the device of the batches.
        results: receives the losses and the norm of the gradients.
        processes: the processes that train together; each computes a part of the batch.
    """

    def __init__(
        self, setup: TrainingSetup, device: torch.device, results: StepResults, processes: Processes = ALONE
    ) -> None:
        learner = setup.learner
        self.model = learner.model
        self.optimizer = learner.optimizer
        self.balancing = learner.balancing
        self.losses = StepLosses(learner.model, setup.recipe, setup.phases.total_steps, processes)
        self._training = setup.recipe.training
        self._weights = {name: task.loss_weight for name, task in setup.recipe.tasks.items()}
        self._device = device
        self._results = results
        self._processes = processes

    def __call__(self, portions: Sequence[Portion], step: int, keys: Tensor | None = None) -> None:
        """Compute and update.

        Args:
            portions: the parts of the batch that this process computes, on the device.
            step: number of the batch in the run.
            keys: the keys of the step's dropout, if they are already on the device; see `encoder.dropout.keyed`.

        Raises:
            NotFiniteError: on a CPU: a loss or the norm of the gradients is not finite; no weight was changed.
        """
        losses = self._compute(portions, step, keys)
        self._results.receive(losses)
        self._backward(self._weighted(losses), portions[0].whole, step)
        norm = self._training.clip_norm
        clipping = None if norm is None else Clipping(self.model.parameters(), norm)
        self.optimizer.found_inf = self._results.check(None if clipping is None else clipping.norm)
        if clipping is not None and self.optimizer.found_inf is None:
            clipping.scale()
        elif clipping is not None:
            self.optimizer.grad_scale = clipping.divisor()
        self.optimizer.step()
        # Free the gradients now, not before the next backward pass: the activations of the next step need the memory.
        self.optimizer.zero_grad(set_to_none=True)
        if len(losses) > 1:
            # Autograd stays on although no gradient is computed. Without it, attention runs other kernels, which round
            # differently.
            self.balancing.after_step(lambda: self._weighted(self.losses(portions, step, keys)))

    def _compute(self, portions: Sequence[Portion], step: int, keys: Tensor | None) -> dict[str, Tensor]:
        """Return the loss of each task. With micro-batches and fixed weights, also add up the gradients."""
        tasks, fixed = portions[0].batch.tasks, None
        if self._training.accumulate > 1:
            fixed = self.balancing.fixed_weights() if len(tasks) > 1 else torch.ones(1)
        if fixed is None:
            return self.losses(portions, step, keys)
        weights = {task: self._weights[task] * weight for task, weight in zip(tasks, fixed.unbind(), strict=True)}
        return self.losses.accumulate(portions, step, weights)

    def _weighted(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses, each multiplied by the `loss_weight` of its task, for the loss balancing."""
        return {task: loss if self._weights[task] == 1 else self._weights[task] * loss for task, loss in losses.items()}

    def _backward(self, losses: Mapping[str, Tensor], whole: Batch, step: int) -> None:
        """Compute the gradients of the balanced loss, over all processes."""
        done: Sequence[Tensor] = ()
        if len(losses) > 1:
            seed = derive(self._training.seed, "balancing", step)
            shared = replace(shared_of(self.model, seed), add_all=self._processes.add_all)
            self.balancing.backward(losses, shared)
            done = shared.parameters if self.balancing.sums_shared else ()
        else:
            next(iter(losses.values())).backward()
        if not self._processes.is_alone:
            words = to_device(whole.token_ids.unique(), self._device)
            table = self.model.encoder.word_embeddings.weight
            sum_gradients(self._processes, self.model.parameters(), table, words, done)


def shared_of(model: MultiTaskBert, seed: int) -> Shared:
    """Return the parameters that all tasks train now (see `model.train_only`), with the seed of the step."""
    parameters = [each for part in (model.encoder, model.pooling) for each in part.parameters() if each.requires_grad]
    last = model.encoder.layers[-1]
    assert isinstance(last, EncoderLayer)
    return Shared(parameters, last.output.weight if last.output.weight.requires_grad else None, seed)
