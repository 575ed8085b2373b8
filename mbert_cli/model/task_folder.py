"""Task folders: one task of a model, which another model with the same encoder can import.

config.json           the task: its section of the recipe, adapters, labels, pooling, scores, decision (temperature and
                      cuts), and the SHA-256 of the encoder and of the tokenizer that it was trained with
task.safetensors      its adapters and its head
members/N/            for a task of an ensemble: `task.safetensors` of each member
README.md             a card
manifest.json         the SHA-256 of each file; see `storage/atomic.py`
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli import __version__
from mbert_cli.data.hub import PREFIX
from mbert_cli.encoder.location import is_hub_name
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.model.model_card import task_card
from mbert_cli.model.saved_parts import ModelFiles, TaskFiles
from mbert_cli.storage.atomic import MANIFEST, check_folder, read_json
from mbert_cli.storage.hub import hub_errors
from mbert_cli.storage.model_folder import TASK_FORMAT, section_of

_VERSION = 1
_TENSORS = "task.safetensors"


@dataclass(frozen=True)
class TaskFolder:
    """A task folder.

    Args:
        source: the folder, or the name on the Hub, as the user wrote it.
        config: its config.json.
        task: the task.
    """

    source: str
    config: dict[str, Any]
    task: TaskFiles

    @property
    def name(self) -> str:
        """The name of the task."""
        return str(self.config["name"])

    def check_fits(self, model: ModelFiles) -> None:
        """Check that a task predicts the same in a model as in the model that it was exported from.

        Raises:
            CheckpointError: the encoder, the tokenizer, the pooling, or the maximum number of tokens differ.
        """
        own, others = self.config["encoder_sha256"], model.encoder_hashes
        if len(own) != len(others):
            kinds = [f"an ensemble of {len(each)}" if len(each) > 1 else "one model" for each in (own, others)]
            raise CheckpointError(
                f"{self.source}: is a task of {kinds[0]}, but {model.run} is {kinds[1]}; import it into a model with "
                "the same encoders."
            )
        place = f"{self.source}: does not fit {model.run}"
        remedy = "import it into a model with its encoder, or train the task there with mbert add-task"
        for mine, other in zip(own, others, strict=True):
            if mine != other:
                raise CheckpointError(
                    f"{place}: it was trained on an encoder with sha256 {mine}, but the model's encoder has {other}; "
                    f"{remedy}."
                )
        if self.config["tokenizer_sha256"] != model.tokenizer_hash:
            raise CheckpointError(
                f"{place}: it was trained with a tokenizer with sha256 {self.config['tokenizer_sha256']}, but that of "
                f"the model has {model.tokenizer_hash}; {remedy}."
            )
        for key, what in (("pooling", "pooling"), ("max_length", "training.max_length")):
            if self.config[key] != model.config[key]:
                raise CheckpointError(
                    f"{place}: it was trained with {what} {_described(self.config[key])}, but the model has "
                    f"{_described(model.config[key])}; train the task there with mbert add-task."
                )


def _described(value: Any) -> str:
    """Return a value of config.json as messages show it."""
    if not isinstance(value, dict):
        return str(value)
    return ", ".join([str(value["kind"]), *(f"{key} {each}" for key, each in value.items() if key != "kind")])


def write_task_folder(folder: Path, model: ModelFiles, name: str) -> None:
    """Write a task of a model to a task folder.

    Args:
        folder: an existing, empty folder.
        model: the model.
        name: the name of the task.

    Raises:
        CheckpointError: the model has no such task.
    """
    task, config = model.task(name), model.config
    card = {key: config.get("card", {}).get(key) for key in ("license", "language")}
    content = {
        "format": TASK_FORMAT,
        "version": _VERSION,
        "mbert": __version__,
        "name": name,
        "task": task.section,
        "adapters": task.adapters,
        "pooling": config["pooling"],
        "max_length": config["max_length"],
        "encoder": config["encoder"],
        "encoder_sha256": model.encoder_hashes,
        "tokenizer_sha256": model.tokenizer_hash,
        "scores": task.metrics,
        "decision": task.decision,
        "card": {**card, "training": task.training},
    }
    for target, file in zip(_tensor_files(folder, len(task.files)), task.files, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    section = section_of({**content, "tasks": {name: task.section}}, folder, lambda *_: [])
    (folder / "config.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(task_card(section, content), encoding="utf-8")


def is_task_folder(folder: Path) -> bool:
    """Whether a folder is a task folder."""
    config = folder / "config.json"
    return (folder / MANIFEST).is_file() and config.is_file() and read_json(config).get("format") == TASK_FORMAT


def _tensor_files(folder: Path, num_members: int) -> list[Path]:
    """Return the files with the tensors of a task: one file, or one for each of several members of an ensemble."""
    prefixes = [""] if num_members == 1 else [f"members/{number}/" for number in range(1, num_members + 1)]
    return [folder / f"{prefix}{_TENSORS}" for prefix in prefixes]


def read_task_folder(source: str) -> TaskFolder:
    """Open a task folder.

    Args:
        source: the folder, or ``hub:OWNER/NAME``, a model repository of the Hub.

    Raises:
        CheckpointError: it is not a task folder, a file was altered, or the Hub cannot be reached.
    """
    folder = _downloaded(source) if source.startswith(PREFIX) else Path(source)
    if not folder.is_dir():
        raise CheckpointError(f"{source}: there is no such folder; mbert tasks export writes a task folder.")
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if config.get("format") != TASK_FORMAT:
        raise CheckpointError(f"{source}: is not a task folder; write one with mbert tasks export RUN TASK -o DIR.")
    if config.get("version") != _VERSION:
        raise CheckpointError(
            f"{source}: has version {config.get('version')!r}, but this mbert ({__version__}) reads version {_VERSION};"
            " use the mbert that wrote it."
        )
    if not (folder / MANIFEST).is_file():
        raise CheckpointError(f"{folder / MANIFEST}: is missing; copy the folder again.")
    check_folder(folder)
    task = TaskFiles(
        section=config["task"],
        adapters=config["adapters"],
        files=_tensor_files(folder, len(config["encoder_sha256"])),
        metrics=config["scores"],
        training=config["card"]["training"],
        decision=config["decision"],
        trained_separately=True,
    )
    return TaskFolder(source, config, task)


def _downloaded(source: str) -> Path:
    """Return the copy of a repository of the Hub in the local cache; download it if necessary."""
    from huggingface_hub import snapshot_download

    name = source.removeprefix(PREFIX)
    if not is_hub_name(name) or "/" not in name:
        raise UsageError(f"{source}: must have the form hub:OWNER/NAME.")
    with hub_errors(CheckpointError, f"{source}:"):
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "README.md"]))
