"""How many bytes a run takes on a disk; each part of the run folder is counted beside the code that writes it."""

import math
from dataclasses import dataclass

from mbert_cli.curricula import Curriculum
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.heads import ClassHead
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.model.components import build
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_model import model_size
from mbert_cli.recipe.sections import Recipe, TrainingSection
from mbert_cli.reports.evaluation_folder import evaluation_size, metrics_size
from mbert_cli.reports.figures import figures_size
from mbert_cli.training.datasets import TrainingData
from mbert_cli.training.feature_cache import features_size
from mbert_cli.training.state import state_size

_BYTES_A_SECOND = 150e6
_RECIPE = 2_000  # bytes of recipe.yaml
_LINE = 700  # bytes of a line of metrics.jsonl, beside the metrics of the tasks


@dataclass(frozen=True)
class RunSize:
    """The bytes of a run's parts.

    Args:
        state: of one state.
        model: of the saved model.
        texts: of the evaluation, the recipe and the metrics.
        figures: of what is drawn at the end.
        features: of the file that holds the encoder's hidden states while the run goes on.
        keep: how many states are kept at most.
        saves: how many states are written.
        scored: how many epochs' models may be the best.
    """

    state: int
    model: int
    texts: int
    figures: int
    features: int
    keep: int
    saves: int
    scored: int

    @property
    def states(self) -> int:
        """How many states are there at the end."""
        return min(self.keep, self.saves)

    @property
    def kept(self) -> int:
        """Bytes of the run folder at the end."""
        return self.states * self.state + self.model + self.texts + self.figures

    @property
    def most(self) -> int:
        """Bytes of the run folder at their most: a part is written before the one that it replaces is removed."""
        in_state = min(self.keep + 1, self.saves) * self.state + self.model
        in_model = min(self.keep, self.saves - 1) * self.state + min(2, self.scored) * self.model
        return max(self.kept, max(in_state, in_model) + self.texts) + self.features

    @property
    def save_seconds(self) -> float:
        """A guess how long an epoch's state and model take: writing, hashing, and forcing them to disk."""
        return (self.state + self.model) / _BYTES_A_SECOND

    @property
    def added(self) -> int:
        """Bytes that a run which goes on may add to what it keeps already."""
        return self.state + self.model + self.features


def run_size(
    recipe: Recipe,
    model: MultiTaskBert,
    tokenizer: Tokenizer,
    balancing: LossBalancing,
    data: TrainingData,
    epoch_seconds: float = math.inf,
) -> RunSize:
    """Return how many bytes a run takes, or a member of an ensemble.

    Args:
        recipe: what is trained.
        model: made of it.
        tokenizer: the encoder's.
        balancing: what it remembers is part of a state.
        data: the examples.
        epoch_seconds: how long the steps of an epoch take, where that is known: a short epoch saves no state within it.
    """
    training = recipe.training
    encoder_trains = _encoder_trains(recipe, data)
    encoder_changed = encoder_trains or recipe.encoder.reinitialise != 0
    heads = {name: model.head(name) for name in model.task_names}
    classes = {name: len(head.labels) if isinstance(head, ClassHead) else 0 for name, head in heads.items()}
    lines = training.epochs * (_LINE + sum(metrics_size(len(data.dev[name]), each) for name, each in classes.items()))
    evaluation = sum(evaluation_size(len(data.dev[name]), count) for name, count in classes.items())
    return RunSize(
        state=state_size(model, balancing, encoder_trains, encoder_changed),
        model=model_size(model, tokenizer, encoder_changed),
        texts=_RECIPE + lines + evaluation,
        figures=figures_size(len(heads)),
        features=features_size(model, data) if training.cache_features else 0,
        keep=training.keep,
        saves=max(training.epochs, training.keep + 1) if _saves_within(training, epoch_seconds) else training.epochs,
        scored=training.epochs - training.early_epochs,
    )


def _saves_within(training: TrainingSection, epoch_seconds: float) -> bool:
    """Whether states are saved within an epoch, too."""
    every = training.state_every
    return isinstance(every, int) or (every is not None and epoch_seconds >= 60 * int(every.removesuffix("min")))


def _encoder_trains(recipe: Recipe, data: TrainingData) -> bool:
    """Whether any phase trains the encoder."""
    training = recipe.training
    if training.freeze_encoder:
        return False
    curriculum: Curriculum = build("curricula", recipe.curriculum, training.epochs)
    epochs = range(1, training.epochs + 1)
    phases = (phase for epoch in epochs for phase in curriculum.phases(epoch, data.sizes, training.batch_size))
    return any(phase.trains == "everything" for phase in phases)


@dataclass(frozen=True)
class DiskNeeded:
    """The disk that a run takes.

    Args:
        kept: bytes of the run folder at the end.
        most: bytes of the run folder at their most.
    """

    kept: int
    most: int


def disk_needed(run: RunSize, members: int) -> DiskNeeded:
    """Return the disk of a run of one model, or of an ensemble.

    A member keeps no state once it is trained. The ensemble's own model is written again after each of them; then its
    weights become those of its members, which lie on the disk once.

    Args:
        run: the size of the run; of an ensemble's member.
        members: how many models are trained.
    """
    if members == 1:
        return DiskNeeded(run.kept, run.most)
    results = run.texts + run.figures
    kept = members * (run.model + results) + results
    in_training = (members - 1) * (run.model + results) + run.texts + run.most
    in_commit = kept - run.figures + members * run.model
    return DiskNeeded(kept, max(kept, in_training, in_commit))
