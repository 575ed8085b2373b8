"""Quantise the linear layers of an encoder to int8, for prediction."""

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mbert_cli.encoder.kernels.int8 import Int8Linear, Int8Norm
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.packed_encoder import PackedEncoder


def linear_names(num_layers: int) -> list[str]:
    """Return the names of the linear layers that are quantised: all four of each encoder layer.

    Args:
        num_layers: number of layers with their own weights.
    """
    names = ("attention.qkv", "attention.output", "intermediate", "output")
    return [f"layers.{index}.{name}" for index in range(num_layers) for name in names]


def quantise(encoder: PackedEncoder, parts: Mapping[str, Tensor] | None = None) -> PackedEncoder:
    """Replace the linear layers of an encoder by int8 layers, in place. Return the encoder, which can only predict now.

    An encoder that is already quantised stays as it is. Embeddings, LayerNorms, biases and adapters keep their data
    types.

    Args:
        encoder: the encoder; it is changed.
        parts: the result of `int8_parts` for an encoder with the same weights. Default: the weights are quantised here.
    """
    if isinstance(next(_layers(encoder)).output, Int8Linear):
        return encoder
    with torch.no_grad():
        for name in linear_names(len(encoder.layers)):
            linear = cast(nn.Linear, encoder.get_submodule(name))
            new = Int8Linear.of(linear) if parts is None else _layer_of(parts, name, linear.bias)
            _replace(encoder, name, new)
    for index, layer in enumerate(_layers(encoder)):
        layer.attention_norm = Int8Norm.of(layer.attention_norm)
        if index < encoder.shape.num_layers - 1:  # no product of the encoder follows the last LayerNorm
            layer.output_norm = Int8Norm.of(layer.output_norm)
    return encoder


def int8_parts(encoder: PackedEncoder) -> dict[str, Tensor]:
    """Return the integers and scales of the int8 layers of a quantised encoder, by name."""
    layers = {name: cast(Int8Linear, encoder.get_submodule(name)) for name in linear_names(len(encoder.layers))}
    return {
        f"{name}.{part}": getattr(layer, part).detach()
        for name, layer in layers.items()
        for part in ("weight", "scales")
    }


def _layer_of(parts: Mapping[str, Tensor], name: str, bias: Tensor | None) -> Int8Linear:
    return Int8Linear(parts[f"{name}.weight"], parts[f"{name}.scales"], None if bias is None else bias.detach())


def _layers(encoder: PackedEncoder) -> Iterator[EncoderLayer]:
    return (cast(EncoderLayer, layer) for layer in encoder.layers)


def _replace(encoder: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(encoder.get_submodule(parent), last, new)
