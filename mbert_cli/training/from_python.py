"""`train` and `add_task` for Python programs: train a recipe on files or data frames, and return the run."""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import Stopped, UsageError
from mbert_cli.machine.hardware import choose, reproducibility_restored
from mbert_cli.machine.signals import listening_to_interrupts
from mbert_cli.metrics import SCALAR_METRICS
from mbert_cli.model.components import problems
from mbert_cli.model.saved_parts import model_to_extend
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.merge import expand_kinds
from mbert_cli.recipe.reader import apply_settings, validate
from mbert_cli.recipe.recipe_file import read_document
from mbert_cli.recipe.sections import Recipe, as_spec
from mbert_cli.recipe.shipped import default_folder, find
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.notebook import NotebookConsole, is_notebook
from mbert_cli.training.added_tasks import change, new_tasks
from mbert_cli.training.data_frames import Data, name_files, saved
from mbert_cli.training.fit import fit
from mbert_cli.training.options import RunOptions
from mbert_cli.training.train import train as train_recipe


@dataclass(frozen=True)
class TrainedRun:
    """A run that `train` has trained.

    Args:
        path: the run folder, for `mbert evaluate`, `mbert report` and other commands.
        kept: the results of the epoch whose model was kept, such as confusion matrices.
        hardware: device, precision and kernels, as given to `train`.
    """

    path: Path
    kept: EpochRecord
    hardware: Mapping[str, str]

    @property
    def overall(self) -> float:
        """The score over all tasks on the dev data."""
        assert self.kept.overall is not None, "an epoch whose model is kept was scored"
        return self.kept.overall

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """The metrics of each task on the dev data."""
        return {
            task: {name: float(metrics[name]) for name in SCALAR_METRICS if name in metrics}
            for task, metrics in self.kept.tasks.items()
        }

    def __repr__(self) -> str:
        return f"TrainedRun({str(self.path)!r}, overall={self.overall:.3f})"

    def predictor(self, **options: Any) -> Predictor:
        """Return the trained model, on the hardware that it was trained on.

        Args:
            options: options of `Predictor`.
        """
        return Predictor(self.path, **{**self.hardware, **options})


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path | None = None,
    *,
    data: Data | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    limit: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    kernels: str = "auto",
    progress: bool | None = None,
) -> TrainedRun:
    """Train a model from a recipe; the same as `mbert train`.

    If Ctrl-C, or the stop button of a notebook, interrupts the main thread, progress is saved; `resume` continues.

    Args:
        recipe: a file, the name of a shipped recipe, a dict with the content of a recipe, or a `Recipe`. Relative paths
            in a dict refer to the working folder.
        output: the run folder. Default: runs/NAME, for a file or a name.
        data: data frames in place of files: `{"mood": {"train": frame, "dev": frame}}`. A data frame is one of pandas
            or polars, a dict of columns, or a list of rows that are dicts. The columns that the task reads are saved
            in the run folder.
        settings: changes of the recipe, such as `["training.epochs=3"]`.
        resume: continue a run that was stopped or killed.
        force: replace the run that the folder contains.
        limit: maximum number of examples of each file or data frame, spread evenly over it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32` or `bf16`.
        kernels: `auto`, `torch` or `fused`.
        progress: True prints the messages of `mbert train` on stderr; False prints nothing. Default: nothing, except a
            progress bar in a notebook.

    Returns:
        The run with its scores.

    Raises:
        KeyboardInterrupt: training was interrupted; progress was saved.
        MbertError: the recipe, the data, the checkpoint or the folder cannot be used; the disk is full; or a loss is
            not finite. The message is that of the command.
    """
    if resume and force:
        raise UsageError("resume and force cannot be used together.")
    document = _document(recipe)
    apply_settings(document, settings)
    folder = RunFolder(_folder(recipe, output))
    name_files(document, data or {}, folder)
    loaded = validate(document, problems)
    options = RunOptions(choose(device, precision, kernels), _console(progress), resume, limit)
    with locked(folder, resume, force), saved(loaded, data or {}, folder) as own:
        kept = _kept(lambda: train_recipe(own, folder, options))
    return TrainedRun(folder.path, kept, {"device": device, "precision": precision, "kernels": kernels})


def add_task(
    run: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    tasks: Sequence[str] = (),
    data: Data | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    limit: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    kernels: str = "auto",
    encoder: str | Path | None = None,
    progress: bool | None = None,
) -> TrainedRun:
    """Train new tasks on the frozen encoder of a trained model; the same as `mbert add-task`.

    Args:
        run: a run folder, or the folder of a saved model.
        recipe: the recipe with the new tasks; see `train`. It needs no encoder.
        output: the folder of the new run, whose model has the tasks of `run` and the new ones.
        tasks: add only these tasks of the recipe; all if empty.
        data: see `train`.
        settings: see `train`.
        resume: see `train`.
        force: see `train`.
        limit: see `train`.
        device: see `train`.
        precision: see `train`.
        kernels: see `train`.
        encoder: the folder of the encoder that the model of `run` refers to, if it was moved.
        progress: see `train`.

    Returns:
        The new run with the scores of the new tasks.

    Raises:
        KeyboardInterrupt: training was interrupted; progress was saved.
        MbertError: see `train`; the model of `run` is an ensemble, or already has a task of that name; or the recipe
            would change the encoder or the pooling. The message is that of the command.
    """
    if resume and force:
        raise UsageError("resume and force cannot be used together.")
    base, folder = model_to_extend(Path(run), Path(output)), RunFolder(Path(output))
    document = _document(recipe)
    change(document, settings)
    name_files(document, data or {}, folder)
    loaded = new_tasks(document, base, tasks, None if encoder is None else str(encoder))
    own_data = {name: frames for name, frames in (data or {}).items() if name in loaded.tasks}
    options = RunOptions(choose(device, precision, kernels), _console(progress), resume, limit, base=base)
    with locked(folder, resume, force), saved(loaded, own_data, folder) as own:
        kept = _kept(lambda: fit(own, folder, options))
    return TrainedRun(folder.path, kept, {"device": device, "precision": precision, "kernels": kernels})


def _kept(train_now: Callable[[], EpochRecord]) -> EpochRecord:
    """Train; return the epoch whose model was kept."""
    try:
        with reproducibility_restored(), listening_to_interrupts():
            return train_now()
    except Stopped as stop:
        if stop.number != signal.SIGINT:
            raise
        raise KeyboardInterrupt(str(stop)) from None


def _console(progress: bool | None) -> Console:
    if progress is not False and is_notebook():
        return NotebookConsole(quiet=not progress)
    return Console(quiet=not progress)


def _document(recipe: str | Path | Mapping[str, Any] | Recipe) -> Document:
    if isinstance(recipe, str | Path):
        return read_document(find(str(recipe)))
    values = _plain(as_spec(recipe) if isinstance(recipe, Recipe) else recipe)
    return Document(expand_kinds(values), {}, "the recipe")


def _folder(recipe: str | Path | Mapping[str, Any] | Recipe, output: str | Path | None) -> Path:
    if output is not None:
        return Path(output)
    if not isinstance(recipe, str | Path):
        raise UsageError("train: a recipe without a file needs a run folder: train(recipe, 'runs/NAME').")
    return default_folder(str(recipe))


def _plain(value: Any) -> Any:
    """Return a value as the dicts, lists and texts of a recipe file."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
