"""One optimizer step."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from mbert_cli.batch import as_tensor
from mbert_cli.data.device_batch import moved
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.static_shapes import is_static, with_dummies_for
from mbert_cli.training.encoder_dropout import EncoderDropout
from mbert_cli.training.optimizer import learning_rate_factor
from mbert_cli.training.pair_order import PairOrder
from mbert_cli.training.portion import Portion
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import TrainingState
from mbert_cli.training.step_graphs import StepGraphs
from mbert_cli.training.step_results import LATE, StepResult, StepResults
from mbert_cli.training.step_update import StepUpdate
from mbert_cli.training.token_dropout import TokenDropout
from mbert_cli.training.why_no_graphs import why_no_graphs

_log = logging.getLogger(__name__)


class OptimizerStep:
    """Takes one optimizer step: packs a batch, computes the losses, balances them, clips gradients, updates weights.

    Args:
        setup: the model, the data and the recipe.
        state: the progress of the run. A step adds 1 to `state.step`.
        device: the device of the batches.
        processes: the processes that train together; each computes a part of the batch.

    Attributes:
        learning_rate: the learning rate of the encoder in the last step.
        update: the part of a step that runs on the device.
        graphs: runs the update as CUDA graphs; None if the run uses none.
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
        self._total_steps = setup.phases.total_steps
        self._device = device
        self._processes = processes
        tasks = recipe.tasks.items()
        token_dropout = {name: task.token_dropout for name, task in tasks}
        self._token_dropout = TokenDropout(token_dropout, learner.tokenizer, recipe.training.seed)
        self._encoder_dropout = EncoderDropout(
            learner.model.encoder, {name: task.encoder_dropout for name, task in tasks}
        )
        self._results = StepResults(recipe, {task: data.lines for task, data in setup.data.train.items()}, device)
        self.update = StepUpdate(setup, device, self._results, processes)
        problem = why_no_graphs(setup, device, processes)
        if problem is not None and is_static(device):
            _log.debug("training without CUDA graphs: %s", problem)
        self.graphs = StepGraphs(self.update, self._results, device, recipe.training.seed) if problem is None else None

    @property
    def stop(self) -> int | None:
        """The signal that stops the run, if another process may have received it."""
        return self.update.losses.stop

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
        self.model.train()
        self._encoder_dropout(list(rows))
        rates = self._set_rates()
        portions = self._pack(rows, self.state.step)
        # All processes catch up the same embedding rows, so that the rows have the same bits everywhere.
        self.optimizer.catch_up(portions[0].whole.token_ids)
        self._results.start(self.state.position(self.recipe.training.epochs, steps_ahead=1), rows)
        self._compute(portions, rates)
        self._results.finish()
        self.state.step += 1
        return self._results.read(LATE)

    def run_without_graphs(self) -> None:
        """Take all later steps without CUDA graphs. The results have the same bits."""
        self.graphs = None

    def read(self) -> list[StepResult]:
        """Wait for all steps; return the results that were not returned before.

        Raises:
            NotFiniteError: see `__call__`.
        """
        return self._results.read()

    def _set_rates(self) -> Float[np.ndarray, " groups"]:
        """Set the learning rates of this step; return those of all parameter groups."""
        training = self.recipe.training
        factor = learning_rate_factor(training, self.state.step, self._total_steps)
        self.learning_rate = training.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        return np.array([group["lr"] for group in self.optimizer.param_groups], np.float32)

    def _pack(self, rows: Mapping[str, np.ndarray], step: int) -> list[Portion]:
        """Return the parts of the batch that this process computes, on the CPU."""
        accumulate = self.recipe.training.accumulate
        portions = self.pairs.pack_portions(rows, step, "cpu", self._processes, accumulate)
        batches = [self._token_dropout(portion.batch, step) for portion in portions]
        if is_static(self._device):
            batches = [with_dummies_for(self.model, batch) for batch in batches]
        whole = batches[0] if portions[0].is_whole else self._token_dropout(portions[0].whole, step)
        return [replace(portion, batch=batch, whole=whole) for portion, batch in zip(portions, batches, strict=True)]

    def _compute(self, portions: Sequence[Portion], rates: Float[np.ndarray, " groups"]) -> None:
        """Compute the losses, and update the weights."""
        step = self.state.step
        if not is_static(self._device):
            self.update(portions, step)
        elif self.graphs is not None:
            self.graphs(portions[0].batch, step, rates)
        else:
            self.optimizer.group_rates = as_tensor(rates, self._device)
            self.update([_on(portion, self._device) for portion in portions], step)


def _on(portion: Portion, device: torch.device) -> Portion:
    """Return a part of a batch on a device; `whole` stays on the CPU if it is another batch."""
    batch = moved(portion.batch, device)
    return replace(portion, batch=batch, whole=batch if portion.is_whole else portion.whole)
