"""One optimizer step."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch
from mbert_cli.encoder.dropout import keyed
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.loss_balancing import Shared
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.randomness import derive
from mbert_cli.training.distillation import SoftLabels
from mbert_cli.training.encoder_dropout import EncoderDropout
from mbert_cli.training.finite import not_finite
from mbert_cli.training.optimizer import clip_gradients, learning_rate_factor
from mbert_cli.training.pair_order import PairOrder
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import TrainingState
from mbert_cli.training.token_dropout import TokenDropout


class OptimizerStep:
    """Takes one optimizer step: packs a batch, computes the losses, balances them, clips gradients, updates weights.

    Args:
        setup: what is trained.
        state: how far the run is. A step adds 1 to `state.step`.
        device: the device of the batches.
    """

    def __init__(self, setup: TrainingSetup, state: TrainingState, device: torch.device) -> None:
        recipe, learner = setup.recipe, setup.learner
        self.model = learner.model
        self.data = setup.data
        self.state = state
        self.recipe = recipe
        self.optimizer = learner.optimizer
        self.pairs = PairOrder(setup.data.train, recipe.training.seed)
        self._balancing = learner.balancing
        self._total_steps = setup.phases.total_steps
        self._device = device
        tasks = recipe.tasks.items()
        token_dropout = {name: task.token_dropout for name, task in tasks}
        self._token_dropout = TokenDropout(token_dropout, learner.tokenizer, recipe.training.seed)
        self._encoder_dropout = EncoderDropout(
            learner.model.encoder, {name: task.encoder_dropout for name, task in tasks}
        )
        self._soft_labels = SoftLabels({name: task.soft_labels for name, task in tasks}, self._total_steps)

    def __call__(self, rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Take a step.

        Args:
            rows: for each task of the step, the indices of its rows.

        Returns:
            The loss of each task, before the update.

        Raises:
            NotFiniteError: a loss or the norm of the gradients is NaN or infinite; no weight was changed.
        """
        training, step = self.recipe.training, self.state.step
        self.model.train()
        self._encoder_dropout(list(rows))
        factor = learning_rate_factor(training, step, self._total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        batch = self._token_dropout(self.pairs.pack(rows, step, self._device), step)
        self.optimizer.catch_up(batch.token_ids)
        losses = self._losses(batch)
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        for task, value in values.items():
            self._check_finite(f"the loss of task {task}", value, {task: rows[task]})
        if len(losses) > 1:
            self._balancing.backward(losses, shared_of(self.model, derive(training.seed, "balancing", step)))
        else:
            next(iter(losses.values())).backward()
        if training.clip_norm is not None:
            norm = clip_gradients(self.model.parameters(), training.clip_norm)
            self._check_finite("the gradient's norm", float(norm), rows)
        self.optimizer.step()
        # Free the gradients now, not before the next backward pass: the activations of the next step need the memory.
        self.optimizer.zero_grad(set_to_none=True)
        if len(losses) > 1:
            # Autograd stays on although no gradient is computed. Without it, attention runs other kernels, which round
            # differently.
            self._balancing.after_step(lambda: self._losses(batch))
        self.state.step += 1
        return values

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of each task. A second call in the same step draws the same dropout."""
        step, seed = self.state.step, self.recipe.training.seed
        # Only FlashAttention on a GPU draws from PyTorch's generator.
        torch.manual_seed(derive(seed, "step", step))
        with keyed(seed, step):
            outputs = self.model(batch)
        heads = {task: self.model.head(task) for task in batch.tasks}
        return {task: self._soft_labels.loss(head, outputs[task], batch, task, step) for task, head in heads.items()}

    def _check_finite(self, what: str, value: float, rows: Mapping[str, np.ndarray]) -> None:
        if math.isfinite(value):
            return
        places = "; ".join(
            f"task {task}, {self.recipe.tasks[task].train}, rows at lines "
            + ", ".join(str(self.data.train[task].lines[row]) for row in indices)
            for task, indices in rows.items()
        )
        position = self.state.position(self.recipe.training.epochs, steps_ahead=1)
        raise not_finite(f"{position}: {what} is {value} ({places}); nothing was changed.")


def shared_of(model: MultiTaskBert, seed: int) -> Shared:
    """Return the parameters that all tasks train, given the last call of `model.train_only`, and the step's seed."""
    parameters = [each for part in (model.encoder, model.pooling) for each in part.parameters() if each.requires_grad]
    last = model.encoder.layers[-1]
    assert isinstance(last, EncoderLayer)
    return Shared(parameters, last.output.weight if last.output.weight.requires_grad else None, seed)
