"""Losses that become NaN or infinite."""

import random
from pathlib import Path

import torch
from experiment import Experiment, check
from processes import any_settings, recipe_of, train_here

from mbert_cli.errors import NotFiniteError
from mbert_cli.storage.atomic import check_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.step import OptimizerStep


def _poisoned(rng: random.Random, folder: Path) -> None:
    recipe, run = recipe_of(folder), folder / "run"
    at, value = rng.randint(1, 6), rng.choice([float("nan"), float("inf"), -float("inf")])
    take_step, seen = OptimizerStep.__call__, {}

    def step(self, rows):
        if self.state.step + 1 != at:
            return take_step(self, rows)
        task = rng.choice(list(rows))
        head = self.model.head(task)
        loss = head.training_loss
        head.training_loss = lambda outputs, labels: loss(outputs, labels) * value
        self.optimizer.catch_up()  # apply updates of embedding rows that earlier steps deferred
        before = {name: each.clone() for name, each in self.model.state_dict().items()}
        try:
            return take_step(self, rows)
        finally:
            lines = [str(self.data.train[task].lines[row]) for row in rows[task]]
            where = f"epoch {self.state.epoch + 1} of 2, step {self.state.epoch_step + 1}: "
            seen.update(task=task, lines=lines, where=where, file=self.recipe.tasks[task].train)
            after = self.model.state_dict()
            seen["changed"] = [name for name in before if not torch.equal(before[name], after[name])]

    OptimizerStep.__call__ = step
    try:
        train_here(recipe, run, [*any_settings(rng), "training.state_every=1"])
        check(False, "no error was raised")
    except NotFiniteError as error:
        message = str(error)
        check(error.exit_code == 5, f"exit code {error.exit_code}")
    finally:
        OptimizerStep.__call__ = take_step
    check(seen["changed"] == [], f"the update was applied to {seen['changed'][:3]}")
    for part in (seen["where"], f"task {seen['task']}", seen["file"], ", ".join(seen["lines"])):
        check(part in message, f"'{part}' is not in: {message}")
    state, problems = RunFolder(run).newest_state()
    check(not problems and (at == 1) == (state is None), f"the last good state does not load: {problems}")
    if state is not None:
        check_folder(state)


loss_not_finite = Experiment(
    18,
    "a NaN or infinite loss: exit code 5, no update, the message names step, task and rows, the last state loads",
    50,
    5,
    _poisoned,
)
