"""Encoder checkpoints: what their files contain, and the names of their weights in both formats."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mbert_cli.encoder.families import Family, family, model_types
from mbert_cli.encoder.initialisation import initialise, shapes_only
from mbert_cli.encoder.layer import ACTIVATIONS
from mbert_cli.encoder.location import WEIGHTS, check_weights, weight_files
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.quantisation import quantise
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError
from mbert_cli.messages import shown

_LARGEST_SIZE = 1_000_000
_ONLY = {"is_decoder": False}  # in all families; a decoder's tokens do not attend to later tokens


def read_shape(folder: Path) -> EncoderShape:
    """Read an encoder's sizes from a checkpoint's config.json.

    Raises:
        CheckpointError: the file is missing or malformed, or describes an encoder that cannot be built.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise CheckpointError(f"{path}: cannot be read; a checkpoint folder must contain config.json.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not JSON ({error}); copy the checkpoint again.") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: must contain a JSON object; copy the checkpoint again.")
    model_type = config.get("model_type", "bert")
    if model_type not in model_types():
        raise CheckpointError(
            f"{path}: model_type is {shown(model_type)}, which is not supported. Known: {', '.join(model_types())}."
        )
    of_type = family(model_type)
    try:
        config = of_type.current(config)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}.") from None
    for key, wanted in {**_ONLY, **of_type.only}.items():
        if config.get(key, wanted) != wanted:
            raise CheckpointError(f"{path}: {key} is {shown(config[key])}, but only {shown(wanted)} is supported.")
    return _shape_from(config, of_type, path)


def _shape_from(config: dict[str, Any], of_type: Family, path: Path) -> EncoderShape:
    values: dict[str, Any] = {}
    for field, key in of_type.sizes.items():
        default = getattr(of_type.defaults, field)
        usual = _to_config(of_type.defaults)[field]
        value, kind = config.get(key, usual), type(default)
        fits = isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)
        if kind is not bool and isinstance(value, int | float):
            fits = fits and _least(field, kind) <= value <= _most(field, kind)
        if not fits:
            raise CheckpointError(f"{path}: {key} must be a value like {usual!r}, but is {shown(value)}.")
        values[field] = kind(value)
    shape = _from_config(of_type, values)
    problem = shape_problem(shape)
    if problem is not None:
        field, what = problem
        raise CheckpointError(f"{path}: {of_type.sizes[field]} {what}.")
    return shape


def _least(field: str, kind: type) -> int:
    return 0 if kind is float or field in ("first_position", "type_vocab_size") else 1


def _most(field: str, kind: type) -> int:
    """Return the largest value of a field: a probability is at most 1; building a larger encoder would take hours."""
    if field.endswith("_theta"):
        return 1_000_000_000
    return 1 if kind is float else _LARGEST_SIZE


def _from_config(of_type: Family, values: dict[str, Any]) -> EncoderShape:
    """Return the shape for the values of config.json, by field."""
    if "first_position" in values:  # config.json has the padding token's id, and the rows of the whole table
        values["first_position"] += 1
        values["max_positions"] -= values["first_position"]
    if values.get("embedding_size") == values["hidden_size"]:
        values["embedding_size"] = 0
    return replace(of_type.defaults, **values)


def _to_config(shape: EncoderShape) -> dict[str, Any]:
    """Return the values of config.json for a shape, by field: the inverse of `_from_config`."""
    values = asdict(shape)
    if shape.first_position:
        values["max_positions"] += shape.first_position
        values["first_position"] -= 1
    values["embedding_size"] = shape.embedding_width
    return values


def shape_problem(shape: EncoderShape) -> tuple[str, str] | None:
    """Return a field of a shape that cannot be built, and the reason; None if there is no such field."""
    if shape.activation not in ACTIVATIONS:
        return "activation", f"'{shape.activation}' is not supported. Known: {', '.join(ACTIVATIONS)}"
    if shape.max_positions < 1:
        return "max_positions", f"({shape.max_positions + shape.first_position}) must be larger than pad_token_id + 1"
    if shape.num_heads < 1 or shape.hidden_size % shape.num_heads:
        return "num_heads", f"({shape.num_heads}) must divide the hidden size ({shape.hidden_size})"
    return None


def load_encoder(
    folder: Path,
    shape: EncoderShape,
    sha256: str | None = None,
    int8: Mapping[str, Tensor] | None = None,
    mapped: bool = False,
) -> tuple[PackedEncoder, list[str]]:
    """Build an encoder in fp32 with the weights of a checkpoint.

    Args:
        folder: contains `model.safetensors`, or its shards and their index.
        shape: the encoder's sizes.
        sha256: the expected value of `weights_sha256`; None skips the check.
        int8: the weights and scales of the linear layers in int8, see `quantisation`. Then the encoder is quantised.
        mapped: map the file into memory, so that unread weights take no memory. Weights are then not aligned in
            memory, which can change the last digits of matrix products.

    Returns:
        The encoder, and the names of absent parameters. Only the pooler may be absent; it then has random values.

    Raises:
        CheckpointError: there is no safetensors file, it is altered or truncated, or names or shapes are wrong.
    """
    files = weight_files(folder)
    check_weights(folder, sha256)
    of_type = family(shape.family)
    weights = _read_weights(files, of_type)
    # Parameters are created without memory; load_state_dict(assign=True) then uses the checkpoint's tensors.
    with shapes_only():
        encoder = PackedEncoder(shape)
    state, absent, wrong = {}, [], []
    for name, parameter in encoder.named_parameters():
        sources = _checkpoint_names(of_type, name, shape.num_layers)
        if int8 is not None and name in int8:
            continue
        if any(source not in weights for source in sources):
            absent.append(name)
            continue
        values = [weights.pop(source) for source in sources]
        value = (values[0] if mapped and len(values) == 1 else torch.cat(values)).float()
        if value.shape != parameter.shape:
            wrong.append(f"{sources[0]} is {list(value.shape)}, expected {list(parameter.shape)}")
        state[name] = value
    missing = [name for name in absent if not name.startswith("pooler.")]
    problems = wrong + [f"{_checkpoint_names(of_type, name, shape.num_layers)[0]} is missing" for name in missing]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{folder}: the weights do not fit this encoder: {'; '.join(problems[:5])}{more}.")
    if absent:
        encoder.pooler = torch.nn.Linear(shape.hidden_size, shape.hidden_size)
        # Use a fixed seed: a saved model that refers to this checkpoint must get the same values again.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            initialise(encoder.pooler)
    encoder.load_state_dict(state, assign=True, strict=not absent and int8 is None)
    encoder.requires_grad_(True)
    return encoder if int8 is None else quantise(encoder, int8), absent


def _read_weights(files: list[Path], of_type: Family) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 -- not a dict
                    names = _current_names(of_type, name)
                    weights |= zip(names, file.get_tensor(name).chunk(len(names)), strict=True)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: is not a complete safetensors file ({error}); copy it again.") from None
    return weights


def _current_names(of_type: Family, name: str) -> list[str]:
    """Return the present name of a weight in a checkpoint; several names if older checkpoints store them as one."""
    name = name.removeprefix(of_type.prefix)
    names = [name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")]
    for older, replacements in of_type.older_names.items():
        names = [each.replace(older, new) for each in names for new in (replacements if older in each else ("",))]
    return names


def _checkpoint_names(of_type: Family, name: str, num_layers: int) -> list[str]:
    """Return the names of a parameter of PackedEncoder in a checkpoint; several if it concatenates several weights."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("layers."):
        return [f"{of_type.modules[module]}.{kind}"]
    _, index, inner = module.split(".", 2)
    if inner == "output_norm" and of_type.next_norm is not None:
        following, last = int(index) + 1, of_type.next_norm[1]
        of_next = f"{of_type.layer.format(following)}.{of_type.next_norm[0]}"
        return [f"{of_next if following < num_layers else last}.{kind}"]
    names = of_type.layer_modules[inner]
    names = (names,) if isinstance(names, str) else names
    return [f"{of_type.layer.format(index)}.{each}.{kind}" for each in names]


def encoder_config(shape: EncoderShape) -> dict[str, Any]:
    """Return the content of a config.json that this module and transformers can read."""
    of_type, values = family(shape.family), _to_config(shape)
    config = {key: values[field] for field, key in of_type.sizes.items()}
    return config | {"model_type": of_type.model_type, "architectures": [of_type.architecture], **of_type.written}


def save_config(shape: EncoderShape, folder: Path) -> None:
    """Write config.json."""
    (folder / "config.json").write_text(json.dumps(encoder_config(shape), indent=2) + "\n", encoding="utf-8")


def save_weights(encoder: PackedEncoder, folder: Path) -> None:
    """Write model.safetensors with the names that transformers uses."""
    save_file(dict(named_tensors(encoder)), folder / WEIGHTS, metadata={"format": "pt"})


def named_tensors(encoder: PackedEncoder) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of an encoder with the names that transformers uses."""
    of_type = family(encoder.shape.family)
    for name, parameter in encoder.state_dict().items():
        names = _checkpoint_names(of_type, name, encoder.shape.num_layers)
        for source, value in zip(names, parameter.cpu().chunk(len(names)), strict=True):
            yield source, value.contiguous()
