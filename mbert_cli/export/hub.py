"""The procedure of `mbert push`: upload a saved model to the Hugging Face Hub."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from mbert_cli.encoder.location import has_weights, own_encoder, referred, weight_files
from mbert_cli.errors import UsageError
from mbert_cli.model.task_folder import is_task_folder
from mbert_cli.storage.atomic import DERIVED, MANIFEST, check_folder, commit_folder, read_json
from mbert_cli.storage.hub import hub_errors
from mbert_cli.storage.model_folder import model_folder

_CONFIG = "config.json"
_NOT_COPIED = shutil.ignore_patterns(MANIFEST, f"{DERIVED}*.safetensors*")
_PATHS = ("train", "dev", "test")


def push_model(
    run: Path,
    name: str,
    private: bool,
    revision: str | None,
    dry_run: bool = False,
    encoder: str | None = None,
) -> tuple[str, list[str]]:
    """Upload the best model of a run, or a task folder. Other files of the run are not uploaded.

    Only the names of data files are uploaded, not their folders.

    Args:
        run: a run folder, the folder of a saved model, or a task folder.
        name: name of the repository, `OWNER/NAME`; it is created if it does not exist.
        private: whether a new repository is private.
        revision: the branch; the main branch by default.
        dry_run: upload nothing.
        encoder: the folder of the encoder that the model refers to, if it was moved. An encoder in a folder is uploaded
            with the model, because it cannot be downloaded from elsewhere.

    Returns:
        The address of the repository, and the names of the files.

    Raises:
        CheckpointError: there is no model.
        UsageError: the Hub rejects the upload, or cannot be reached.
    """
    if is_task_folder(run):
        if encoder is not None:
            raise UsageError(f"{run}: is a task folder, which contains no encoder; remove --encoder.")
        check_folder(run)
        return _upload(lambda new: _copy_task(run, new), name, private, revision, dry_run, "Task by mbert")
    folder = model_folder(run)
    own = any(has_weights(each / "encoder") for each in (folder, folder / "members" / "1"))
    if own and encoder is not None:
        raise UsageError(own_encoder(run))
    return _upload(lambda new: _copy(folder, new, own, encoder), name, private, revision, dry_run, "Model by mbert")


def _upload(
    write: Callable[[Path], None], name: str, private: bool, revision: str | None, dry_run: bool, message: str
) -> tuple[str, list[str]]:
    """Upload the files that `write` writes into an empty folder; see `push_model`."""
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as at:
        staged = Path(at) / "model"
        commit_folder(staged, write)
        files = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
        api = HfApi()
        with hub_errors(UsageError, f"{name}:", upload=True):
            if not dry_run:
                api.create_repo(name, private=private, exist_ok=True)
                api.upload_folder(repo_id=name, folder_path=staged, revision=revision, commit_message=message)
        return f"{api.endpoint}/{name}", files


def _copy_task(folder: Path, new: Path) -> None:
    """Copy a task folder for other machines: without local paths."""
    shutil.copytree(folder, new, dirs_exist_ok=True, ignore=_NOT_COPIED)
    config = read_json(folder / _CONFIG)
    _shorten_paths(config["task"])
    if PurePath(config["encoder"]["checkpoint"]).is_absolute():
        config["encoder"]["checkpoint"] = PurePath(config["encoder"]["checkpoint"]).name
    (new / _CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _shorten_paths(task: dict[str, Any]) -> None:
    """Replace the paths of a task's data files by the names of the files."""
    for split in _PATHS:
        if task.get(split):
            task[split] = PurePath(task[split]).name


def _copy(folder: Path, new: Path, own: bool, encoder: str | None) -> None:
    """Copy a model for other machines: without local paths, and with the encoder if it is in a folder."""
    shutil.copytree(folder, new, dirs_exist_ok=True, ignore=_NOT_COPIED)
    config = read_json(folder / _CONFIG)
    for task in config["tasks"].values():
        _shorten_paths(task)
    checkpoint = config["encoder"]["checkpoint"]
    if PurePath(checkpoint).is_absolute():
        for file in () if own else weight_files(referred(folder, config, instead=encoder).folder, with_index=True):
            shutil.copy(file, new / "encoder" / file.name)
        config["encoder"]["checkpoint"] = PurePath(checkpoint).name
        config.pop("encoder_path", None)
    (new / _CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
