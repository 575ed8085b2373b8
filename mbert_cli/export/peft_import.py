"""The procedure of `mbert tasks import --from peft`: replace the adapters of a task by a PEFT adapter."""

from pathlib import Path
from typing import Any

from mbert_cli.encoder.checkpoint import read_shape
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, RecipeError, UsageError
from mbert_cli.export.export_card import RECORD
from mbert_cli.export.not_expressible import NotExpressibleError
from mbert_cli.export.peft import CONFIG, WEIGHTS
from mbert_cli.export.peft_adapters import OwnAdapter, from_peft
from mbert_cli.model.components import build
from mbert_cli.model.saved_parts import ModelFiles, TaskFiles
from mbert_cli.model.tensor_files import read_tensors, write_tensors
from mbert_cli.recipe.sections import Component
from mbert_cli.storage.atomic import read_json

_ADAPTERS = "adapters."


def task_of(folder: Path, model: ModelFiles, task: str | None) -> str:
    """Return the task that gets the adapter.

    It is the task that the user names; otherwise the task that the adapter was exported from; otherwise the only task.

    Args:
        folder: the folder of the adapter.
        model: the model.
        task: the task that the user names, if any.

    Raises:
        CheckpointError: the model has no such task.
        UsageError: no task is given, and the model has several.
    """
    name = task or _record(folder).get("task")
    if name is None:
        if len(model.task_names) > 1:
            raise UsageError(f"{folder}: choose the task that gets the adapter with -t: {', '.join(model.task_names)}.")
        name = model.task_names[0]
    model.check_task(str(name))
    return str(name)


def with_adapter(model: ModelFiles, name: str, folder: Path, file: Path) -> tuple[TaskFiles, list[str]]:
    """Return a task of a model, with a PEFT adapter in place of its own adapters.

    The head keeps its values. If the adapter has changed, thresholds and temperatures are dropped, because they were
    fitted with the old one.

    Args:
        model: the model.
        name: the task.
        folder: the folder of the adapter, written by PEFT or by `mbert export --format peft`.
        file: the file to which the tensors of the task are written.

    Returns:
        The task, and the names of the tensors in the folder that are not part of the adapter.

    Raises:
        CheckpointError: the folder cannot be read, or its adapter does not fit the encoder.
        UsageError: the model is an ensemble.
    """
    if model.is_ensemble:
        raise UsageError(f"{model.run}: is an ensemble; import into one of its members, such as {model.run}/members/1.")
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder}: has no {CONFIG}; give the folder of a PEFT adapter.")
    _check_encoder(model, folder)
    shape = read_shape(model.folder / "encoder")
    try:
        own = from_peft(read_json(folder / CONFIG), read_tensors(folder / WEIGHTS), shape)
    except NotExpressibleError as problem:
        raise CheckpointError(f"{folder}: the adapter {problem}.") from None
    _check_sizes(own, shape, folder)
    task = model.task(name)
    old = read_tensors(task.files[0])
    new = {key: value for key, value in old.items() if not key.startswith(_ADAPTERS)}
    new |= {f"{_ADAPTERS}0.{key}": value.to(next(iter(old.values())).dtype) for key, value in own.state.items()}
    write_tensors(file, new)
    same = file.read_bytes() == task.files[0].read_bytes()
    note = f"its adapter was then imported from peft ({folder.resolve().name}); the scores are those before the import"
    changed = TaskFiles(
        section=task.section,
        adapters=[own.spec],
        files=[file],
        metrics=task.metrics,
        training=task.training if same else [*task.training, note],
        decision=task.decision if same else None,
        trained_separately=task.trained_separately or not same,
    )
    return changed, own.ignored


def _record(folder: Path) -> dict[str, Any]:
    """Return what mbert has recorded about an exported adapter; empty if another program wrote the folder."""
    return read_json(folder / RECORD) if (folder / RECORD).is_file() else {}


def _check_encoder(model: ModelFiles, folder: Path) -> None:
    theirs = _record(folder).get("encoder_sha256")
    if theirs is not None and theirs != model.encoder_hashes[0]:
        raise CheckpointError(
            f"{folder}: does not fit {model.run}: it was trained on an encoder with sha256 {theirs}, but the model's "
            f"encoder has {model.encoder_hashes[0]}; import it into a model with its encoder."
        )


def _check_sizes(own: OwnAdapter, shape: EncoderShape, folder: Path) -> None:
    """Check that the values of an adapter fit the encoder, before anything is written."""
    options = {key: value for key, value in own.spec.items() if key != "kind"}
    try:
        expected = build("adapters", Component(kind=own.spec["kind"], options=options), shape).state_dict()
    except RecipeError as error:
        raise CheckpointError(f"{folder}: the adapter does not fit the encoder: {error.problems[0]}") from None
    for name, value in expected.items():
        if own.state[name].shape != value.shape:
            raise CheckpointError(
                f"{folder}: the adapter does not fit the encoder: {name} is {list(own.state[name].shape)}, expected "
                f"{list(value.shape)}."
            )
