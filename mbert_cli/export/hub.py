"""The procedure of `mbert push`: upload a saved model to the Hugging Face Hub."""

import json
import shutil
import tempfile
from pathlib import Path, PurePath

from mbert_cli.encoder.location import has_weights, own_encoder, referred, weight_files
from mbert_cli.errors import UsageError
from mbert_cli.storage.atomic import MANIFEST, commit_folder, read_json
from mbert_cli.storage.hub import hub_errors
from mbert_cli.storage.model_folder import model_folder

_CONFIG = "config.json"
_PATHS = ("train", "dev", "test")


def push_model(
    run: Path,
    name: str,
    private: bool,
    revision: str | None,
    dry_run: bool = False,
    encoder: str | None = None,
) -> tuple[str, list[str]]:
    """Upload a run's best model, but no other files of the run. Paths of data files are reduced to the file names.

    Args:
        run: a run folder, or the folder of a saved model.
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
    from huggingface_hub import HfApi

    folder = model_folder(run)
    own = any(has_weights(each / "encoder") for each in (folder, folder / "members" / "1"))
    if own and encoder is not None:
        raise UsageError(own_encoder(run))
    with tempfile.TemporaryDirectory() as at:
        staged = Path(at) / "model"
        commit_folder(staged, lambda new: _copy(folder, new, own, encoder))
        files = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
        api = HfApi()
        with hub_errors(UsageError, f"{name}:", upload=True):
            if not dry_run:
                api.create_repo(name, private=private, exist_ok=True)
                api.upload_folder(repo_id=name, folder_path=staged, revision=revision, commit_message="Model by mbert")
        return f"{api.endpoint}/{name}", files


def _copy(folder: Path, new: Path, own: bool, encoder: str | None) -> None:
    """Copy a model for other machines: without local paths, and with the encoder if it is in a folder."""
    shutil.copytree(folder, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
    config = read_json(folder / _CONFIG)
    for task in config["tasks"].values():
        for split in _PATHS:
            if task.get(split):
                task[split] = PurePath(task[split]).name
    checkpoint = config["encoder"]["checkpoint"]
    if PurePath(checkpoint).is_absolute():
        for file in () if own else weight_files(referred(folder, config, instead=encoder).folder, with_index=True):
            shutil.copy(file, new / "encoder" / file.name)
        config["encoder"]["checkpoint"] = PurePath(checkpoint).name
        config.pop("encoder_path", None)
    (new / _CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
