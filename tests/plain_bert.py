"""A plain BERT for comparison: one sentence at a time, in float64, written from the equations."""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape

SHAPE = EncoderShape(
    vocab_size=23, hidden_size=12, num_layers=3, num_heads=3, intermediate_size=20, max_positions=24, dropout=0.0,
    attention_dropout=0.0,
)  # fmt: skip
Module = TypeVar("Module", bound=nn.Module)
LENGTHS, SEGMENTS = [3, 9, 1, 17, 2, 9, 4], [2, 1, 3, 1]


class Stream(NamedTuple):
    """The inputs of an encoder: `encoder(*stream, adapters)`."""

    token_ids: Tensor
    token_types: Tensor
    positions: Tensor
    layout: Layout


def stream(lengths: list[int] = LENGTHS, segments: list[int] | None = SEGMENTS, vocab_size: int = 23) -> Stream:
    """Return packed random tokens of both types."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, vocab_size, (sum(lengths),), generator=generator)
    types = torch.randint(0, 2, (sum(lengths),), generator=generator)
    positions = torch.cat([torch.arange(length) for length in lengths]) if lengths else ids
    return Stream(ids, types, positions, Layout(lengths, segments))


def stirred(module: Module, seed: int = 0, std: float = 0.5) -> Module:
    """Set all values of a module to random numbers, also LayerNorms, biases and gates. Return the module."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = (torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * std).to(parameter)
    return module


@dataclass
class Affine:
    """W x + b; for a LayerNorm gamma * x + beta."""

    weight: Tensor
    bias: Tensor


def weights_of(module: nn.Module) -> Affine:
    """Return a copy of the values of a linear layer or a LayerNorm."""
    return Affine(module.weight.detach().double(), module.bias.detach().double())


def rescaled(norm: Affine, own: nn.Module) -> Affine:
    """The LayerNorm s * LN(x) + t: gamma' = s gamma, beta' = s beta + t."""
    scale, shift = own.scale.detach().double(), own.shift.detach().double()
    return Affine(scale * norm.weight, scale * norm.bias + shift)


def linear(x: Tensor, values: Affine) -> Tensor:
    """W x + b."""
    return x @ values.weight.T + values.bias


def layer_norm(x: Tensor, values: Affine, eps: float) -> Tensor:
    """gamma (x - mean) / sqrt(variance + eps) + beta."""
    centred = x - x.mean(-1, keepdim=True)
    return values.weight * centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() + values.bias


def gelu(x: Tensor) -> Tensor:
    """x times the normal distribution function of x."""
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """concat_i softmax(Q_i K_i^T / sqrt(d)) V_i of one sentence, head by head."""
    size = q.shape[-1] // heads
    mixed = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        mixed.append(torch.softmax(q[:, own] @ k[:, own].T / size**0.5, dim=-1) @ v[:, own])
    return torch.cat(mixed, dim=-1)


class PlainLayer:
    """LN(x + B(FFN(x), h)) with x = LN(h + A(MH(h))). A test replaces the parts that its method changes."""

    def __init__(self, layer: EncoderLayer, shape: EncoderShape = SHAPE) -> None:
        joined = weights_of(layer.attention.qkv)
        parts = zip(joined.weight.chunk(3), joined.bias.chunk(3), strict=True)
        self.query, self.key, self.value = (Affine(weight.clone(), bias.clone()) for weight, bias in parts)
        self.attention_output = weights_of(layer.attention.output)
        self.attention_norm = weights_of(layer.attention_norm)
        self.intermediate = weights_of(layer.intermediate)
        self.output = weights_of(layer.output)
        self.output_norm = weights_of(layer.output_norm)
        self.heads, self.eps = shape.num_heads, shape.layer_norm_eps
        self.inner_scale: Tensor | float = 1.0
        self.attend = lambda q, k, v: attention(q, k, v, self.heads)
        self.after_attention = lambda x: x
        self.after_feed_forward = lambda x, h: x

    def __call__(self, h: Tensor) -> Tensor:
        mixed = self.attend(linear(h, self.query), linear(h, self.key), linear(h, self.value))
        attended = self.after_attention(linear(mixed, self.attention_output))
        x = layer_norm(h + attended, self.attention_norm, self.eps)
        fed = linear(self.inner_scale * gelu(linear(x, self.intermediate)), self.output)
        return layer_norm(x + self.after_feed_forward(fed, h), self.output_norm, self.eps)


class PlainEncoder:
    """The BERT of one task."""

    def __init__(self, encoder: PackedEncoder) -> None:
        tables = (encoder.word_embeddings, encoder.type_embeddings, encoder.position_embeddings)
        self.words, self.types, self.positions = (table.weight.detach().double() for table in tables)
        self.embedding_norm = weights_of(encoder.embedding_norm)
        self.eps = encoder.shape.layer_norm_eps
        self.layers = [PlainLayer(layer, encoder.shape) for layer in encoder.layers]

    def __call__(self, token_ids: Tensor, token_types: Tensor) -> Tensor:
        h = self.words[token_ids] + self.types[token_types] + self.positions[: len(token_ids)]
        h = layer_norm(h, self.embedding_norm, self.eps)
        for layer in self.layers:
            h = layer(h)
        return h


def largest_difference(encoder: PackedEncoder, adapters: list[list[nn.Module]], plain: list[PlainEncoder]) -> float:
    """Return the largest difference between the packed encoder, with and without gradients, and the plain ones."""
    packed = stream()
    task_of_sentence = [task for task, size in enumerate(SEGMENTS) for _ in range(size)]
    parts = zip(packed.token_ids.split(LENGTHS), packed.token_types.split(LENGTHS), task_of_sentence, strict=True)
    expected = torch.cat([plain[task](ids, types) for ids, types, task in parts])
    with_gradients = encoder(*packed, adapters)
    with torch.no_grad():
        without = encoder(*packed, adapters)
    assert with_gradients.dtype == torch.float32
    return max((found - expected).abs().max().item() for found in (with_gradients, without))
