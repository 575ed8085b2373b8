"""Folding adapters into the encoder's weights, for prediction."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from mbert_cli.batch import Layout
from mbert_cli.encoder.adapter import Adapter, Norm
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.segment_adapters import AFFINE_SITES, SegmentAdapters, acts_at


def can_fold(adapters: Sequence[Adapter]) -> bool:
    """Return whether an adapter acts at a site that can be folded."""
    return any(acts_at(type(adapter), site) for adapter in adapters for site in AFFINE_SITES)


def fold(encoder: PackedEncoder, adapters: Sequence[Adapter]) -> PackedEncoder:
    """Return a copy of an encoder that includes a task's adapters at linear layers and LayerNorms in its weights.

    LoRA, (IA)^3, BitFit and task-specific LayerNorms then cost nothing. Other sites of the adapters are not folded. A
    linear layer together with its adapters is an affine function f(x) = A x + b. So its matrix is computed without
    knowing the method: A e_i = f(e_i) - f(0) and b = f(0), in float64. The copy is only for prediction with these
    adapters.

    Args:
        encoder: the shared encoder; it is not changed.
        adapters: the adapters of one task, in the order in which they act.
    """
    parameter = encoder.word_embeddings.weight
    foldable = [copy.deepcopy(adapter).eval().double() for adapter in adapters if can_fold([adapter])]
    folded = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        _fold_norm(folded.embedding_norm, foldable)
        if len(folded.layers) < encoder.shape.num_layers:  # the adapters differ, though the layers share their weights
            folded.layers = nn.ModuleList(copy.deepcopy(folded.layers[0]) for _ in range(encoder.shape.num_layers))
        for index, layer in enumerate(cast(Sequence[EncoderLayer], folded.layers)):
            for name, linear in layer.linears().items():
                probes = torch.eye(linear.in_features, dtype=torch.float64, device=parameter.device)
                probes = torch.cat([torch.zeros_like(probes[:1]), probes])
                sites = SegmentAdapters(Layout([len(probes)]), [foldable])
                _ensure_bias(linear, linear.out_features)
                y = sites.linear(linear.double(), probes, name, index).tensor()
                linear.bias.copy_(y[0])
                linear.weight.copy_((y[1:] - y[0]).T)
                linear.to(parameter.dtype)
            for norm_name, norm in layer.norms().items():
                _fold_norm(norm, foldable, norm_name, index)
    folded.folded = True
    return folded


def _fold_norm(norm: nn.LayerNorm, adapters: Sequence[Adapter], name: Norm = "embedding_norm", layer: int = 0) -> None:
    """Fold s * (gamma * x + beta) + t into gamma and beta."""
    probes = torch.zeros(2, norm.weight.numel(), dtype=torch.float64, device=norm.weight.device)
    probes[1] = 1
    shift, sum_ = SegmentAdapters(Layout([2]), [adapters]).after_norm(probes, name, layer)
    scale = sum_ - shift
    _ensure_bias(norm, len(scale))
    norm.weight.mul_(scale)
    norm.bias.mul_(scale).add_(shift)


def _ensure_bias(module: nn.Linear | nn.LayerNorm, features: int) -> None:
    """Give a module without a bias one of zeros."""
    if module.bias is None:
        module.bias = nn.Parameter(module.weight.new_zeros(features))
