"""One optimizer step."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch, to_device
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.loss_balancing import Shared
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.randomness import derive
from mbert_cli.training.encoder_dropout import EncoderDropout
from mbert_cli.training.gradient_sum import sum_gradients
from mbert_cli.training.optimizer import Clipping, learning_rate_factor
from mbert_cli.training.pair_order import PairOrder
from mbert_cli.training.portion import Portion
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import TrainingState
from mbert_cli.training.step_losses import StepLosses
from mbert_cli.training.step_results import LATE, StepResult, StepResults
from mbert_cli.training.token_dropout import TokenDropout


class OptimizerStep:
    """Takes one optimizer step: packs a batch, computes the losses, balances them, clips gradients, updates weights.

    Args:
        setup: the model, the data and the recipe.
        state: the progress of the run. A step adds 1 to `state.step`.
        device: the device of the batches.
        processes: the processes that train together; each computes a part of the batch.

    Attributes:
        learning_rate: the learning rate of the encoder in the last step.
    """

    def __init__(
        self, setup: TrainingSetup, state: TrainingState, device: torch.device, processes: Processes = ALONE
    ) -> None:
        recipe, learner = setup.recipe, setup.learner
        self.model = learner.model
        self.learning_rate = recipe.training.learning_rate
        self.data = setup.data
        self.state = state
        self.recipe = recipe
        self.optimizer = learner.optimizer
        self.pairs = PairOrder(setup.data.train, recipe.training.seed)
        self._balancing = learner.balancing
        self._total_steps = setup.phases.total_steps
        self._device = device
        self._processes = processes
        tasks = recipe.tasks.items()
        token_dropout = {name: task.token_dropout for name, task in tasks}
        self._token_dropout = TokenDropout(token_dropout, learner.tokenizer, recipe.training.seed)
        self._encoder_dropout = EncoderDropout(
            learner.model.encoder, {name: task.encoder_dropout for name, task in tasks}
        )
        self._weights = {name: task.loss_weight for name, task in tasks}
        self._losses = StepLosses(learner.model, recipe, self._total_steps, processes)
        self._results = StepResults(recipe, {task: data.lines for task, data in setup.data.train.items()}, device)

    @property
    def stop(self) -> int | None:
        """The signal that stops the run, if another process may have received it."""
        return self._losses.stop

    def __call__(self, rows: Mapping[str, np.ndarray]) -> list[StepResult]:
        """Take a step.

        Args:
            rows: for each task of the step, the indices of its rows.

        Returns:
            On a CPU, the result of this step. On a GPU, the results of earlier steps that are computed by now.

        Raises:
            NotFiniteError: a loss or the norm of the gradients is NaN or infinite, in this step or, on a GPU, in an
                earlier one; no weight was changed in that step and after it.
        """
        training, step = self.recipe.training, self.state.step
        self.model.train()
        self._encoder_dropout(list(rows))
        factor = learning_rate_factor(training, step, self._total_steps)
        self.learning_rate = training.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        portions = self._pack(rows, step)
        # All processes catch up the same embedding rows, so that the rows have the same bits everywhere.
        self.optimizer.catch_up(portions[0].whole.token_ids)
        losses = self._compute(portions)
        self._results.start(self.state.position(training.epochs, steps_ahead=1), rows, losses)
        self._backward(self._weighted(losses), portions[0].whole)
        clipping = None if training.clip_norm is None else Clipping(self.model.parameters(), training.clip_norm)
        self.optimizer.found_inf = self._results.finish(None if clipping is None else clipping.norm)
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
            self._balancing.after_step(lambda: self._weighted(self._losses(portions, step)))
        self.state.step += 1
        return self._results.read(LATE)

    def read(self) -> list[StepResult]:
        """Wait for all steps; return the results that were not returned before.

        Raises:
            NotFiniteError: see `__call__`.
        """
        return self._results.read()

    def _pack(self, rows: Mapping[str, np.ndarray], step: int) -> list[Portion]:
        accumulate = self.recipe.training.accumulate
        portions = self.pairs.pack_portions(rows, step, self._device, self._processes, accumulate)
        batches = [self._token_dropout(portion.batch, step) for portion in portions]
        whole = batches[0] if portions[0].is_whole else self._token_dropout(portions[0].whole, step)
        return [replace(portion, batch=batch, whole=whole) for portion, batch in zip(portions, batches, strict=True)]

    def _compute(self, portions: Sequence[Portion]) -> dict[str, Tensor]:
        """Return the loss of each task. With micro-batches and fixed weights, also add up the gradients."""
        tasks, fixed = portions[0].batch.tasks, None
        if self.recipe.training.accumulate > 1:
            fixed = self._balancing.fixed_weights() if len(tasks) > 1 else torch.ones(1)
        if fixed is None:
            return self._losses(portions, self.state.step)
        weights = {task: self._weights[task] * weight for task, weight in zip(tasks, fixed.unbind(), strict=True)}
        return self._losses.accumulate(portions, self.state.step, weights)

    def _weighted(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses, each multiplied by the `loss_weight` of its task, for the loss balancing."""
        return {task: loss if self._weights[task] == 1 else self._weights[task] * loss for task, loss in losses.items()}

    def _backward(self, losses: Mapping[str, Tensor], whole: Batch) -> None:
        """Compute the gradients of the balanced loss, over all processes."""
        done: Sequence[Tensor] = ()
        if len(losses) > 1:
            seed = derive(self.recipe.training.seed, "balancing", self.state.step)
            shared = replace(shared_of(self.model, seed), add_all=self._processes.add_all)
            self._balancing.backward(losses, shared)
            done = shared.parameters if self._balancing.sums_shared else ()
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
