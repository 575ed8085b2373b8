"""Build encoders, heads and models from the sections of a recipe.

The file name of a component is its name in a recipe: `{kind: low_rank, rank: 8}` under `adapters` is the class
`LowRank` in `mbert_cli/adapters/low_rank.py`. The program passes the positional parameters of its constructor. The
keyword-only parameters are the options in the recipe.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from mbert_cli.data.labels import Labels
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.checkpoint import read_shape, shape_problem
from mbert_cli.encoder.families import family, model_types
from mbert_cli.encoder.initialisation import initialise, shapes_only
from mbert_cli.encoder.known_shapes import known_shape
from mbert_cli.encoder.location import is_local, locate
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, RecipeError
from mbert_cli.heads import Head
from mbert_cli.messages import nearest
from mbert_cli.model.components import build, build_labels, component_class
from mbert_cli.model.multi_task_bert import MultiTaskBert, TaskPart
from mbert_cli.pooling import Pooling
from mbert_cli.pooling.max import Max
from mbert_cli.randomness import derive
from mbert_cli.recipe.sections import EncoderSection, ModelSection, TaskSection


def encoder_shape(section: EncoderSection, download: bool = True) -> EncoderShape:
    """Return the sizes of a recipe's encoder.

    Args:
        section: the recipe's encoder.
        download: whether to use the network. Without it, sizes come from the recipe's `shape`, the checkpoint's folder,
            the table of well-known names or the local hub cache.

    Raises:
        CheckpointError: the sizes are unknown, or differ from `shape`.
        RecipeError: `shape` is impossible, or its family is unknown.
    """
    sizes = _sizes_in(section)
    if not download and not is_local(section.checkpoint):
        known = known_shape(section.checkpoint)
        if sizes or known is not None:
            if known is None or sizes.get("family", known.family) != known.family:
                known = _defaults(sizes)
            return _checked_shape(replace(known, **sizes))
    try:
        shape = read_shape(locate(section.checkpoint, section.revision, download))
    except CheckpointError:
        if sizes and not download:
            return _checked_shape(replace(_defaults(sizes), **sizes))
        raise
    for key, should in sizes.items():
        if getattr(shape, key) != should:
            raise CheckpointError(
                f"encoder.shape.{key} is {should}, but the checkpoint's config.json has {getattr(shape, key)}; correct "
                "or remove it."
            )
    return shape.dropping(section.dropout)


def encoder_tokenizer(folder: Path, shape: EncoderShape, max_length: int) -> Tokenizer:
    """Return the tokenizer of an encoder.

    Args:
        folder: the folder of the checkpoint.
        shape: the encoder's sizes.
        max_length: the longest sequence in tokens.

    Raises:
        CheckpointError: there is no tokenizer, it cannot be read, or it has more tokens than the encoder.
    """
    tokenizer = Tokenizer(folder, max_length)
    if tokenizer.vocab_size > shape.vocab_size:
        raise CheckpointError(
            f"encoder.checkpoint: the tokenizer has {tokenizer.vocab_size} ids, but the encoder embeds "
            f"{shape.vocab_size}; the checkpoint's files do not belong together."
        )
    return tokenizer


def _sizes_in(section: EncoderSection) -> dict[str, Any]:
    """Return the sizes that a recipe sets."""
    if section.shape is None:
        return {}
    sizes = {key: value for key, value in section.shape.model_dump().items() if value is not None}
    named = sizes.get("family")
    if named is not None and named not in model_types():
        raise RecipeError(f"encoder.shape.family is '{named}'{nearest(named, model_types())}")
    return sizes


def _defaults(sizes: Mapping[str, Any]) -> EncoderShape:
    """Return the sizes of the family that a recipe names, by default BERT."""
    return family(sizes.get("family", EncoderShape().family)).defaults


def _checked_shape(shape: EncoderShape) -> EncoderShape:
    problem = shape_problem(shape)
    if problem is not None:
        raise RecipeError(f"encoder.shape.{problem[0]} {problem[1]}.")
    return shape


def task_labels(tasks: Mapping[str, TaskSection]) -> dict[str, Labels]:
    """Return the labels of all tasks, without building their heads."""
    return {name: build_labels(task.head) for name, task in tasks.items()}


def head_class(task: TaskSection) -> type[Head]:
    """Return the class of a task's head."""
    return component_class("heads", task.head.kind)


def build_model(section: ModelSection, shape: EncoderShape, encoder: PackedEncoder, seed: int) -> MultiTaskBert:
    """Build a model around an encoder. Random initial values are a function of `seed`.

    Args:
        section: adapters, pooling and tasks.
        shape: the encoder's sizes.
        encoder: the encoder; adapters may take initial values from its last layer.
        seed: the run's seed.

    Raises:
        RecipeError: a component rejects one of its options for these sizes.
    """
    parts = {name: build_part(section, name, shape, encoder, seed) for name in section.tasks}
    return MultiTaskBert(encoder, build_pooling(section, encoder), parts)


def build_part(
    section: ModelSection, name: str, shape: EncoderShape, encoder: PackedEncoder | None, seed: int
) -> TaskPart:
    """Build the adapters and the head of a task; arguments and errors are those of `build_model`.

    Without an encoder, no adapter takes initial values from it: its values are loaded next.
    """
    task = section.tasks[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "initial values", name))
        own = shape.dropping(task.encoder_dropout)
        adapters: list[Adapter] = [build("adapters", each, own) for each in section.adapters_of(name)]
        part = TaskPart(adapters, build("heads", task.head, shape.hidden_size), _window_pooling(task))
        if encoder is not None:
            for adapter in part.adapter_list():
                adapter.start_from(encoder)
    return part


def build_pooling(section: ModelSection, encoder: PackedEncoder) -> Pooling:
    """Build the pooling of a model.

    Raises:
        RecipeError: it needs a pooler, which the encoder does not have; or it rejects an option.
    """
    pooling: Pooling = build("pooling", section.pooling)
    if pooling.pooler and encoder.pooler is None:
        raise RecipeError(
            f"{section.pooling.place_of('pooler')} is true, but an encoder of the family {encoder.shape.family} has no "
            "pooler; set it to false."
        )
    return pooling


def _window_pooling(task: TaskSection) -> Pooling | None:
    """Return how the windows of a text become one vector. With `first`, there is only one window."""
    return Max() if task.windows is not None and task.windows.pool == "max" else None


def reinitialise(encoder: PackedEncoder, layers: int | Literal["all"], seed: int) -> None:
    """Draw new initial values, as BERT does, for the last layers of an encoder, or for `all` of it.

    The values are a function of `seed`.

    Source: Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", section 4: the layers nearest to the output are
    specialised for the pretraining task.
    """
    chosen: list[nn.Module] = [encoder] if layers == "all" else list(encoder.layers)[len(encoder.layers) - layers :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "initial values of the encoder"))
        for module in chosen:
            initialise(module)


def meta_model(section: ModelSection, shape: EncoderShape) -> MultiTaskBert:
    """Build a model without memory for its parameters, to count them."""
    with shapes_only():
        return build_model(section, shape, PackedEncoder(shape), seed=0)
