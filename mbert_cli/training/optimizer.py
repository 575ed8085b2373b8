"""The optimizer: AdamW, its parameter groups and schedule, and gradient clipping."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.recipe.sections import TrainingSection

_EPS = 1e-6  # is added to the norm, as in PyTorch's clip_grad_norm_


def make_optimizer(
    model: MultiTaskBert, training: TrainingSection, own_rates: Mapping[str, float] | None = None
) -> "RowwiseAdamW":
    """Return AdamW with groups for the encoder, the adapters and the heads, each with its own learning rate.

    With `layer_decay` d, layer l of L of the encoder has the learning rate learning_rate * d^(L - l). The embeddings
    have learning_rate * d^L. Source: Howard & Ruder 2018 (ULMFiT), section 3.2, discriminative fine-tuning with
    d = 1 / 2.6. Weight decay applies to matrices only, not to biases and LayerNorms.

    Args:
        model: the model.
        training: learning rates and weight decay.
        own_rates: learning rate of the adapters and the head of each task that has its own.
    """
    own_rates = own_rates or {}
    adapter_rate = training.adapter_learning_rate or training.learning_rate
    head_rate = training.head_learning_rate or adapter_rate
    parts = [model.task(name) for name in model.task_names if name not in own_rates]
    modules: list[tuple[float, list[nn.Module]]] = [
        *_encoder_rates(model.encoder, training),
        (adapter_rate, [part.adapters for part in parts]),
        (head_rate, [model.pooling, *(part.head for part in parts)]),
    ]
    modules += [(rate, [model.task(name)]) for name, rate in own_rates.items()]
    groups = []
    for rate, owners in modules:
        parameters: list[Tensor] = [parameter for owner in owners for parameter in owner.parameters()]
        matrices = [parameter for parameter in parameters if parameter.ndim > 1]
        vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
        groups.append({"params": matrices, "base_lr": rate, "weight_decay": training.weight_decay})
        groups.append({"params": vectors, "base_lr": rate, "weight_decay": 0.0})
    return RowwiseAdamW([group for group in groups if group["params"]], training.learning_rate)


def _encoder_rates(encoder: PackedEncoder, training: TrainingSection) -> list[tuple[float, list[nn.Module]]]:
    """Return the learning rates in the encoder, with the modules that use each."""
    rate, decay = training.learning_rate, training.layer_decay
    if decay == 1:
        return [(rate, [encoder])]
    layers = list(encoder.layers)
    embeddings = [module for module in encoder.children() if module not in (encoder.layers, encoder.pooler)]
    return [
        (rate, [] if encoder.pooler is None else [encoder.pooler]),
        *((rate * decay ** (len(layers) - number), [layer]) for number, layer in enumerate(layers, 1)),
        (rate * decay ** len(layers), embeddings),
    ]


def learning_rate_factor(training: TrainingSection, step: int, total_steps: int) -> float:
    """Return the factor of all learning rates in a step.

    With W steps of warm-up and T steps in total, the factor in step t, from 0, is

    - 1 with `constant`;
    - (t + 1) / W for t < W with `linear` and `cosine`; then
    - (T - t) / (T - W) with `linear`;
    - (1 + cos(pi (t - W) / (T - W))) / 2 with `cosine`, half a period. Source: Loshchilov & Hutter 2017 (SGDR),
      equation 5, without restarts and with a minimum of 0.

    Args:
        training: schedule, and `warmup` = W / T.
        step: t.
        total_steps: T.
    """
    if training.schedule == "constant":
        return 1.0
    warm = math.ceil(training.warmup * total_steps)
    if step < warm:
        return (step + 1) / warm
    left = (total_steps - step) / max(1, total_steps - warm)
    return left if training.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


class Clipping:
    """Scales all gradients, dense and sparse, so that their joint norm is at most `max_norm`.

    Args:
        parameters: the parameters, whose gradients are computed.
        max_norm: the largest norm.

    Attributes:
        norm: the norm before scaling.
    """

    def __init__(self, parameters: Iterable[Tensor], max_norm: float) -> None:
        self._max_norm = max_norm
        self._values = []
        for parameter in parameters:
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()  # add up gradients of repeated rows first
            self._values.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
        self.norm = nn.utils.get_total_norm(self._values)

    def scale(self) -> None:
        """Scale the gradients, which are on a CPU."""
        divisor = (self.norm.numpy() + np.float32(_EPS)) / np.float32(self._max_norm)
        if divisor > 1:
            torch._foreach_div_(self._values, float(divisor))

    def divisor(self) -> Float[Tensor, ""]:
        """Return the number that the gradients must be divided by; unlike `scale`, without waiting for a GPU."""
        return ((self.norm + _EPS) / self._max_norm).clamp(min=1.0)
