"""Evaluates and saves an ensemble again after each new member."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.location import has_weights, locate
from mbert_cli.errors import CheckpointError
from mbert_cli.evaluation.evaluate import Outcome, evaluation_of, mean_outcomes, outcomes_of
from mbert_cli.machine.signals import deferred
from mbert_cli.model.compose import head_class, task_labels
from mbert_cli.model.ensemble import Ensemble
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.parameter_count import parameter_counts
from mbert_cli.model.saved_model import read_model, write_model
from mbert_cli.recipe.sections import Recipe
from mbert_cli.reports.evaluation_folder import Evaluation, write_evaluation
from mbert_cli.storage.commit_epoch import commit_epoch
from mbert_cli.storage.metrics_file import EpochRecord, Seconds, kept_epoch
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.datasets import dev_files, read_split
from mbert_cli.training.member_contents import MEMBERS_FILE
from mbert_cli.training.options import RunOptions


class GrowingEnsemble:
    """An ensemble that is evaluated and saved again after each new member.

    In its metrics and its state, the number of members takes the role of the epoch.

    Args:
        recipe: the recipe of the ensemble; its adapters have ranks, not budgets.
        folder: the run folder of the ensemble.
        options: how to compute.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, options: RunOptions) -> None:
        self._recipe = recipe
        self._folder = folder
        self._options = options
        self._encoder = locate(recipe.encoder.checkpoint, recipe.encoder.revision)
        self._members: list[MultiTaskBert] = []
        self._outcomes: list[dict[str, Outcome]] = []
        self._contents: list[Mapping[str, Any] | None] = []
        self._dev: dict[str, TaskData] = {}
        self._steps = 0

    def add(self, place: RunFolder, contents: Mapping[str, Any] | None) -> EpochRecord:
        """Add a trained member, evaluate all members together, and commit the result.

        Args:
            place: the run folder of the member.
            contents: hashes of the files that the member was trained with; see `recorded_contents`.

        Returns:
            The results of the ensemble.
        """
        hardware = self._options.hardware
        saved = read_model(place.path, None if has_weights(place.model / "encoder") else self._encoder)
        saved.model.to(hardware.device).compute_with(hardware.dtype, hardware.kernels)
        self._members += saved.model.members()
        self._contents.append(contents)
        self._dev = self._dev or _read_dev(self._recipe, saved.tokenizer, self._options.limit)
        started = time.monotonic()
        with self._options.console.status(f"evaluating the first {len(self._members)} members together"):
            self._outcomes.append(outcomes_of(saved.model, self._dev))
            ensemble = Ensemble(self._members)
            evaluation = evaluation_of(ensemble, mean_outcomes(self._outcomes))
        record = self._record(place, evaluation, ensemble, time.monotonic() - started)
        with deferred():
            self._commit(record, ensemble, evaluation, saved.tokenizer)
        return record

    def _record(self, place: RunFolder, evaluation: Evaluation, ensemble: Ensemble, dev_seconds: float) -> EpochRecord:
        """Return the results of the ensemble; counts and times are those of its newest member."""
        epochs = place.read_metrics()
        kept = kept_epoch(epochs)
        if kept is None:
            raise CheckpointError(f"{place.metrics_file}: no epoch is marked as best; start again with --force.")
        rows: dict[str, int] = {}
        for each in epochs:
            for task, count in each.rows.items():
                rows[task] = rows.get(task, 0) + count
        self._steps += epochs[-1].step
        return EpochRecord(
            epoch=len(self._members),
            step=self._steps,
            phases="ensemble",
            rows=rows,
            tokens=sum(each.tokens for each in epochs),
            train_loss=kept.train_loss,
            tasks=evaluation.metrics["tasks"],
            overall=evaluation.metrics["overall"],
            best=True,  # always keep all members: if fewer of them score higher on dev, that is noise
            parameters=parameter_counts(ensemble),
            hardware=epochs[-1].hardware,
            seconds=Seconds(
                round(sum(each.seconds.train for each in epochs), 3),
                round(dev_seconds + sum(each.seconds.dev for each in epochs), 3),
            ),
        )

    def _commit(self, record: EpochRecord, ensemble: Ensemble, evaluation: Evaluation, tokenizer: Tokenizer) -> None:
        recipe = self._recipe
        dev = evaluation.of("dev", dev_files(recipe), epoch=record.epoch, max_length=tokenizer.max_length)
        # If no phase trained the encoder, no member has saved one: it equals the checkpoint.
        numbers = range(1, recipe.training.members + 1)
        trained = any(has_weights(self._folder.members / str(number) / "model" / "encoder") for number in numbers)

        def write_ensemble(at: Path) -> None:
            write_model(at, ensemble, recipe, tokenizer, trained, record.scores())

        def write_state(at: Path) -> None:
            state = {"members": record.epoch, "contents": self._contents}
            (at / MEMBERS_FILE).write_text(json.dumps(state) + "\n", encoding="utf-8")

        parts = (write_ensemble, lambda at: write_evaluation(at, dev))
        commit_epoch(self._folder, record, write_state, 1, parts)


def _read_dev(recipe: Recipe, tokenizer: Tokenizer, limit: int | None) -> dict[str, TaskData]:
    labels = task_labels(recipe.tasks)
    dev = {}
    for name, task in recipe.tasks.items():
        examples = read_split("dev", name, task, labels[name], limit)
        dev[name] = tokenise(tokenizer, examples, head_class(task).sides, task.symmetric, task.windows)
    return dev
