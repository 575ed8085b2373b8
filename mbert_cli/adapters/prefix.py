"""Prefix tuning."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from mbert_cli.encoder import prefix
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.initialisation import drawn
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError


class Prefix(Adapter):
    """Prefix tuning: learned keys P_k and values P_v that every token attends to, in every layer.

    With `gate: none` they precede the keys and values of the sentence: softmax(Q [P_k; K]^T / sqrt(d)) [P_v; V].
    Source: Li & Liang 2021, section 4, without their reparametrisation network. Such a prefix changes the encoder from
    the start.

    With `gate: zero` the prefix has a separate softmax. Its result is added with the weight tanh(g); each head has its
    own g, which starts at zero, so a new adapter leaves the encoder exactly unchanged. Source: the zero-initialised
    attention of Zhang et al. 2023 (LLaMA-Adapter, section 3.2), which also separates the softmaxes.

    Parameters per task: num_layers * 2 * length * hidden_size, plus num_layers * num_heads gates.

    Args:
        shape: sizes of the encoder being adapted.
        length: number of positions of the prefix.
        gate: `zero` or `none`; see above.

    Raises:
        OptionError: the encoder's attention is disentangled (DeBERTa).
    """

    formula = "L * 2 n d_m"  # n: length
    size_option = "length"

    def __init__(
        self,
        shape: EncoderShape,
        *,
        length: Annotated[int, Field(ge=1, le=100_000)] = 16,
        gate: Literal["zero", "none"] = "zero",
    ) -> None:
        super().__init__()
        if shape.position_buckets:
            problem = "cannot be prefix with this encoder: its attention is disentangled, and a prefix has no distances"
            raise OptionError("kind", problem)
        layers = range(shape.num_layers)
        self.keys = nn.ParameterList(drawn(length, shape.hidden_size) for _ in layers)
        self.values = nn.ParameterList(drawn(length, shape.hidden_size) for _ in layers)
        gates = [torch.zeros(shape.num_heads) for _ in layers] if gate == "zero" else []
        self.gates = nn.ParameterList(gates)

    def num_weights(self) -> int:
        """L * 2 n d_m."""
        return sum(parameter.numel() for parameter in (*self.keys, *self.values))

    def prefix(self, layer: int) -> prefix.Prefix:
        """Return the layer's keys and values, and tanh of its gates."""
        gate = self.gates[layer].tanh() if len(self.gates) else None
        return prefix.Prefix(self.keys[layer], self.values[layer], gate)
