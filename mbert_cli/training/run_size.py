"""The size of a run on the disk. The module that writes a part of the run folder also computes its size."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import or_
from pathlib import Path

from mbert_cli.data.labels import NamedLabels
from mbert_cli.errors import ResourceError
from mbert_cli.model.saved_model import model_size, weights_size
from mbert_cli.recipe.field_types import seconds_in
from mbert_cli.recipe.sections import TrainingSection
from mbert_cli.reports.evaluation_folder import evaluation_size, metrics_size
from mbert_cli.reports.figures import figures_size
from mbert_cli.training.feature_cache import features_size
from mbert_cli.training.phases import RunPhases
from mbert_cli.training.rounds import lines_of
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import state_size
from mbert_cli.training.trackers import tracking_size

_BYTES_PER_SECOND = 150e6
_RECIPE = 2_000  # bytes of recipe.yaml
_LINE = 700  # bytes of a line of metrics.jsonl without the metrics of the tasks


@dataclass(frozen=True)
class RunSize:
    """The sizes of the parts of a run folder, in bytes.

    Args:
        states: sizes of all states that are written, in order; a state is larger once the encoder has been trained.
        model: size of the saved model.
        model_weights: size of the weights in it that a state of the same epoch shares with it on the disk.
        texts: size of the evaluation, the recipe, the metrics and the files of trackers.
        figures: size of the figures that are drawn at the end.
        features: size of the file that contains the encoder's hidden states during the run.
        keep: the largest number of states that are kept.
        scored: number of rounds that are scored, so that their model may be the best.
        rounds: number of rounds; each saves a state at its end.
    """

    states: Sequence[int]
    model: int
    model_weights: int
    texts: int
    figures: int
    features: int
    keep: int
    scored: int
    rounds: int

    @property
    def kept_states(self) -> int:
        """Bytes of the states at the end."""
        return sum(self.states[-self.keep :])

    @property
    def kept(self) -> int:
        """Bytes of the run folder at the end."""
        # If all states are kept, one of them is that of the best epoch, which shares its weights with the model.
        shared = self.model_weights if len(self.states) <= self.keep else 0
        return self.kept_states + self.model - shared + self.texts + self.figures

    @property
    def most(self) -> int:
        """The largest size of the run folder at any time: a part is written before the one it replaces is removed."""
        in_state = sum(self.states[-self.keep - 1 :]) + self.model
        in_model = sum(self.states[-self.keep - 1 : -1]) + min(2, self.scored) * self.model
        return max(self.kept, max(in_state, in_model) + self.texts) + self.features

    @property
    def save_seconds(self) -> float:
        """A guess of how long the state and the model of an epoch take: writing, hashing, and forcing them to disk."""
        return (sum(self.states) / len(self.states) + self.model) / _BYTES_PER_SECOND

    @property
    def added(self) -> int:
        """Bytes that a resumed run may add to its folder."""
        return self.states[-1] + self.model + self.features


def run_size(setup: TrainingSetup, epoch_seconds: float = math.inf) -> RunSize:
    """Return the size on disk of a run, or of one member of an ensemble.

    Args:
        setup: what is trained.
        epoch_seconds: duration of the steps of an epoch, if it is known. A short epoch saves no state within it.
    """
    recipe, data, model = setup.recipe, setup.data, setup.learner.model
    training = recipe.training
    trains = _trains_encoder(setup.phases)
    changed = [each or recipe.encoder.reinitialise != 0 for each in trains]
    heads = {name: model.head(name) for name in model.task_names}
    labels = {name: head.labels for name, head in heads.items()}
    classes = {name: len(own) if isinstance(own, NamedLabels) else 0 for name, own in labels.items()}
    rounds, scored = lines_of(training, setup.phases)
    lines = rounds * (_LINE + sum(metrics_size(len(data.dev[name]), each) for name, each in classes.items()))
    evaluation = sum(evaluation_size(len(data.dev[name]), count) for name, count in classes.items())
    metrics = sum(len(head.metric_names) for head in heads.values())
    tracked = tracking_size(training.track, setup.phases.total_steps, rounds, len(heads), metrics)
    kinds = list(zip(trains, changed, strict=True))
    size_of = {kind: state_size(model, setup.learner.balancing, *kind) for kind in set(kinds)}
    sizes = [size_of[kind] for kind in kinds]
    if training.evaluate_every is not None or _saves_within(training, epoch_seconds):
        sizes = [size for size in sizes for _ in range(training.keep + 1)]
    return RunSize(
        states=sizes,
        model=model_size(model, setup.learner.tokenizer, changed[-1]),
        model_weights=weights_size(model, changed[-1]),
        texts=_RECIPE + lines + evaluation + tracked,
        figures=figures_size(len(heads)),
        features=features_size(model, data) if training.cache_features else 0,
        keep=training.keep,
        scored=scored,
        rounds=rounds,
    )


def _saves_within(training: TrainingSection, epoch_seconds: float) -> bool:
    """Whether states are also saved within an epoch."""
    every = training.state_every
    return isinstance(every, int) or (every is not None and epoch_seconds >= seconds_in(every))


def _trains_encoder(phases: RunPhases) -> list[bool]:
    """Return for each epoch whether it, or one before it, trains the encoder."""
    trains = [any(map(phases.trains_everything, phases.of_epoch(epoch))) for epoch in phases.epochs]
    return list(accumulate(trains, or_))


@dataclass(frozen=True)
class DiskNeeded:
    """The disk space that a run needs.

    Args:
        kept: size of the run folder at the end, in bytes.
        most: the largest size of the run folder at any time, in bytes.
    """

    kept: int
    most: int


def disk_needed(run: RunSize, members: int) -> DiskNeeded:
    """Return the disk space of a run of one model, or of an ensemble.

    A trained member keeps no state. The model of the ensemble is written again after each member; then its weights are
    replaced by links to those of the members.

    Args:
        run: size of the run, or of one member of the ensemble.
        members: number of members; 1 without an ensemble.
    """
    if members == 1:
        return DiskNeeded(run.kept, run.most)
    results = run.texts + run.figures
    kept = members * (run.model + results) + results
    in_training = (members - 1) * (run.model + results) + run.texts + run.most
    in_commit = kept - run.figures + members * run.model
    return DiskNeeded(kept, max(kept, in_training, in_commit))


def check_room(folder: Path, size: int) -> None:
    """Check that the disk of a folder has enough free space.

    Args:
        folder: an existing folder.
        size: the bytes that are needed.

    Raises:
        ResourceError: it has less.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ResourceError(
            f"{folder}: a run of this model needs {size / 1e6:,.0f} MB, but the disk has {free / 1e6:,.0f} MB free; "
            "free some, lower training.keep, or choose another -o."
        )
