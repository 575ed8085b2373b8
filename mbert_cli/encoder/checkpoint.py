"""Encoder checkpoints: what their files contain, and the names of their weights in both formats."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mbert_cli.encoder.bert import BertEncoder
from mbert_cli.encoder.initialisation import initialise, shapes_only
from mbert_cli.encoder.layer import ACTIVATIONS
from mbert_cli.encoder.location import WEIGHTS, weight_files, weights_sha256
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError
from mbert_cli.messages import shown

_LARGEST_SIZE = 1_000_000

# Field of EncoderShape -> name in a BERT config.json.
_CONFIG_NAMES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "activation": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}

# Module of BertEncoder -> module in a BERT checkpoint. The second table is below `layers.N.` -> `encoder.layer.N.`.
_MODULE_NAMES = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embeddings": "embeddings.position_embeddings",
    "type_embeddings": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
_LAYER_MODULE_NAMES = {
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_QKV = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))

# Sizes of the encoders of Devlin et al. 2018 and Turc et al. 2019: counting parameters then needs no file or network.
_KNOWN_SHAPES = {
    "bert-base-uncased": EncoderShape(),
    "bert-base-cased": EncoderShape(vocab_size=28996),
    "bert-large-uncased": EncoderShape(hidden_size=1024, num_layers=24, num_heads=16, intermediate_size=4096),
    "bert-large-cased": EncoderShape(
        vocab_size=28996, hidden_size=1024, num_layers=24, num_heads=16, intermediate_size=4096
    ),
}


def known_shape(checkpoint: str) -> EncoderShape | None:
    """Return the sizes of a well-known hub checkpoint, or None if it is not in the list.

    Args:
        checkpoint: a hub name, with or without its owner.
    """
    return _KNOWN_SHAPES.get(checkpoint.removeprefix("google-bert/"))


def read_shape(folder: Path) -> EncoderShape:
    """Read an encoder's sizes from a checkpoint's config.json.

    Raises:
        CheckpointError: the file is missing or malformed, or describes an encoder that is not BERT.
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
    for key, wanted in (("model_type", "bert"), ("position_embedding_type", "absolute")):
        if config.get(key, wanted) != wanted:
            raise CheckpointError(f"{path}: {key} is '{config[key]}', but only '{wanted}' is supported.")
    return _shape_from(config, path)


def _shape_from(config: dict[str, Any], path: Path) -> EncoderShape:
    values: dict[str, Any] = {}
    for field, default in asdict(EncoderShape()).items():
        value = config.get(_CONFIG_NAMES[field], default)
        fits = isinstance(value, int | float if isinstance(default, float) else type(default))
        if isinstance(value, int | float):
            # Constants are probabilities or small numbers. An encoder with a larger size would take hours to build.
            fits = fits and (0 <= value <= 1 if isinstance(default, float) else 1 <= value <= _LARGEST_SIZE)
        if not fits or isinstance(value, bool):
            raise CheckpointError(
                f"{path}: {_CONFIG_NAMES[field]} must be a value like {default!r}, but is {shown(value)}."
            )
        values[field] = type(default)(value)
    shape = EncoderShape(**values)
    problem = shape_problem(shape)
    if problem is not None:
        field, what = problem
        raise CheckpointError(f"{path}: {_CONFIG_NAMES[field]} {what}.")
    return shape


def shape_problem(shape: EncoderShape) -> tuple[str, str] | None:
    """Return a field of a shape that cannot be built, and the reason; None if there is no such field."""
    if shape.activation not in ACTIVATIONS:
        return "activation", f"'{shape.activation}' is not supported. Known: {', '.join(ACTIVATIONS)}"
    if shape.num_heads < 1 or shape.hidden_size % shape.num_heads:
        return "num_heads", f"({shape.num_heads}) must divide the hidden size ({shape.hidden_size})"
    return None


def load_encoder(folder: Path, shape: EncoderShape, sha256: str | None = None) -> tuple[BertEncoder, list[str]]:
    """Build an encoder in fp32 with the weights of a checkpoint.

    Args:
        folder: contains `model.safetensors`, or its shards and their index.
        shape: the encoder's sizes.
        sha256: the expected value of `weights_sha256`; None skips the check.

    Returns:
        The encoder, and the names of parameters that the checkpoint does not contain. Only the pooler may be absent; it
        then has BERT's random initial values.

    Raises:
        CheckpointError: there is no safetensors file, it is altered or truncated, or names or shapes are wrong (the
            message lists the first five).
    """
    files = weight_files(folder)
    if sha256 is not None and (actual := weights_sha256(folder)) != sha256:
        raise CheckpointError(
            f"{files[0]}: the sha256 must be {sha256}, but is {actual}; the file was altered or replaced."
        )
    weights = _read_weights(files)
    # Parameters are created without memory; load_state_dict(assign=True) then uses the checkpoint's tensors.
    with shapes_only():
        encoder = BertEncoder(shape)
    state, absent, wrong = {}, [], []
    for name, parameter in encoder.named_parameters():
        sources = _checkpoint_names(name)
        if any(source not in weights for source in sources):
            absent.append(name)
            continue
        value = torch.cat([weights.pop(source) for source in sources]).float()
        if value.shape != parameter.shape:
            wrong.append(f"{sources[0]} is {list(value.shape)}, expected {list(parameter.shape)}")
        state[name] = value
    missing = [name for name in absent if not name.startswith("pooler.")]
    problems = wrong + [f"{_checkpoint_names(name)[0]} is missing" for name in missing]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{folder}: the weights do not fit this encoder: {'; '.join(problems[:5])}{more}.")
    if absent:
        encoder.pooler = torch.nn.Linear(shape.hidden_size, shape.hidden_size)
        # Use a fixed seed: a saved model that refers to this checkpoint must get the same values again.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            initialise(encoder.pooler)
    encoder.load_state_dict(state, assign=True, strict=not absent)
    return encoder.requires_grad_(True), absent


def _read_weights(files: list[Path]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 -- not a dict
                    weights[_modern_name(name)] = file.get_tensor(name)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: is not a complete safetensors file ({error}); copy it again.") from None
    return weights


def _modern_name(name: str) -> str:
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _checkpoint_names(name: str) -> list[str]:
    """Return the checkpoint's names of a parameter of BertEncoder; for `qkv` these are three names."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("layers."):
        return [f"{_MODULE_NAMES[module]}.{kind}"]
    _, index, inner = module.split(".", 2)
    modules = _QKV if inner == "attention.qkv" else (_LAYER_MODULE_NAMES[inner],)
    return [f"encoder.layer.{index}.{source}.{kind}" for source in modules]


def save_config(shape: EncoderShape, folder: Path) -> None:
    """Write a config.json that this module and transformers can read."""
    config = {_CONFIG_NAMES[field]: value for field, value in asdict(shape).items()}
    config |= {"model_type": "bert", "architectures": ["BertModel"], "position_embedding_type": "absolute"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def save_weights(encoder: BertEncoder, folder: Path) -> None:
    """Write model.safetensors with the names that transformers uses."""
    save_file(dict(_named_tensors(encoder)), folder / WEIGHTS, metadata={"format": "pt"})


def _named_tensors(encoder: BertEncoder) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in encoder.state_dict().items():
        names = _checkpoint_names(name)
        for source, value in zip(names, parameter.cpu().chunk(len(names)), strict=True):
            yield source, value.contiguous()
