"""The encoder of one task with the adapters folded into its weights, so that other libraries can run it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from mbert_cli.adapters.top import Top
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.families import family
from mbert_cli.encoder.folding import can_fold, fold
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.segment_adapters import AFFINE_SITES, INNER_SITES, acts_at
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import UsageError
from mbert_cli.model.multi_task_bert import MultiTaskBert

_BIASES = {
    "attention.qkv": "attention_bias",
    "attention.output": "attention_bias",
    "intermediate": "intermediate_bias",
    "output": "output_bias",
    "attention_norm": "norm_bias",
    "output_norm": "norm_bias",
    "embedding_norm": "norm_bias",
}
"""For each module that folding may give a bias, the field of `EncoderShape` for that bias."""


def plain_encoder(model: MultiTaskBert, task: str, kinds: Sequence[str]) -> PackedEncoder:
    """Return an encoder without adapters whose hidden states are those of a task.

    Adapters at linear layers and LayerNorms are folded into the weights. A top layer becomes the last layer.

    Args:
        model: the model; it is not changed.
        task: the task.
        kinds: the kind of each adapter of the task, for messages.

    Raises:
        UsageError: an adapter cannot be part of the weights of a plain encoder.
    """
    adapters = model.task(task).adapter_list()
    for kind, adapter in zip(kinds, adapters, strict=True):
        problem = _problem(adapter, model.encoder)
        if problem is not None:
            raise UsageError(f"task {task}: the adapter {kind} {problem}; use --format onnx.")
    shares = model.encoder.shape.shares_layers
    if shares and adapters:
        raise UsageError(
            f"task {task}: all layers of {model.encoder.shape.family} share their weights, but its adapters differ by "
            "layer; use --format onnx."
        )
    folds = can_fold(adapters)
    encoder = fold(model.encoder, adapters) if folds else copy.deepcopy(model.encoder).eval()
    encoder.requires_grad_(False)
    if folds:
        _match_biases(encoder, task)
    for adapter in adapters:
        if isinstance(adapter, Top):
            encoder.layers.append(copy.deepcopy(adapter.layer).eval().requires_grad_(False))
            encoder.shape = replace(encoder.shape, num_layers=encoder.shape.num_layers + 1)
    return encoder


def _problem(adapter: Adapter, encoder: PackedEncoder) -> str | None:
    """Return why an adapter cannot be part of the weights, as a predicate; None if it can."""
    if any(acts_at(type(adapter), site) for site in INNER_SITES if site not in AFFINE_SITES):
        return "computes inside the layers, so it cannot be folded into their weights"
    if not acts_at(type(adapter), "on_top"):
        return None
    if not isinstance(adapter, Top):
        return "is not an encoder layer"
    if encoder.shape.norm_first:
        return f"does not continue the residual stream of the layers of {encoder.shape.family}"
    if not _same(adapter.positions, encoder.positions):
        return f"has parameters of distances that differ from those of the other layers of {encoder.shape.family}"
    return None


def _same(one: nn.Module, two: nn.Module) -> bool:
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name].cpu(), second[name].cpu()) for name in first)


def _match_biases(encoder: PackedEncoder, task: str) -> None:
    """Remove the added biases that are all zero; for the others, record in the shape that the encoder has biases.

    Raises:
        UsageError: an adapter has added a bias that checkpoints of the family cannot have.
    """
    shape = encoder.shape
    missing = {field for field in set(_BIASES.values()) if not getattr(shape, field)}
    modules = {name: field for name, field in _fields(encoder).items() if field in missing}
    needed = {field for name, field in modules.items() if _bias(encoder, name).any()}
    keys = family(shape.family).sizes
    for field in needed:
        if field not in keys:
            raise UsageError(
                f"task {task}: its adapters add biases, which checkpoints of {shape.family} do not have; use --format "
                "onnx."
            )
    # One key of config.json may stand for several fields.
    kept = {field for field in missing if keys.get(field) in {keys[each] for each in needed}}
    for name, field in modules.items():
        if field not in kept:
            encoder.get_submodule(name).register_parameter("bias", None)
    encoder.shape = _with_biases(shape, kept)


def _with_biases(shape: EncoderShape, fields: set[str]) -> EncoderShape:
    chosen: Mapping[str, bool] = dict.fromkeys(fields, True)
    return replace(shape, **chosen)  # type: ignore[arg-type]  # the fields are booleans


def _fields(encoder: PackedEncoder) -> dict[str, str]:
    """Return the full names of the modules that folding may give a bias, with the fields of the shape."""
    inner = [name for name in _BIASES if name != "embedding_norm"]
    names = {f"layers.{index}.{name}": _BIASES[name] for index in range(len(encoder.layers)) for name in inner}
    return {"embedding_norm": _BIASES["embedding_norm"], **names}


def _bias(encoder: PackedEncoder, name: str) -> torch.Tensor:
    bias = encoder.get_submodule(name).bias
    assert isinstance(bias, torch.Tensor)  # `fold` gives every such module one
    return bias
