"""LoRA."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.adapters import check_rank
from mbert_cli.encoder.adapter import Adapter, Linear
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.encoder.initialisation import drawn
from mbert_cli.encoder.kernels.bf16_products import linear
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError

Target = Literal["query", "key", "value", "attention_output", "intermediate", "output"]
_QKV: tuple[Target, ...] = ("query", "key", "value")


class LoRA(Adapter):
    """LoRA: W x + b + (alpha / r) B A x at the target linear layers; A has r rows, B has r columns.

    Source: Hu et al. 2021, section 4. B starts at zero, so a new adapter leaves the encoder exactly unchanged. A starts
    with random values like BERT's matrices. There are no biases.
    Parameters per task: num_layers * rank * the sum over the targets of (features in + features out).

    Args:
        shape: sizes of the encoder being adapted.
        rank: r, number of features between A and B.
        alpha: the product is scaled by alpha / rank; 2 * rank by default.
        targets: any of query, key, value, attention_output, and the feed-forward layers intermediate and output; query
            and value by default.
        dropout: probability of dropping a feature of A's input in training.

    Raises:
        OptionError: rank is above hidden_size, or a target occurs twice.
    """

    size_option = "rank"

    def __init__(
        self,
        shape: EncoderShape,
        *,
        rank: Annotated[int, Field(ge=1)] = 8,
        alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        targets: Annotated[list[Target], Field(min_length=1)] | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        check_rank(rank, shape.hidden_size)
        targets = ["query", "value"] if targets is None else targets
        if len(set(targets)) < len(targets):
            raise OptionError("targets", f"must be distinct, but are {', '.join(targets)}")
        features: dict[Target, tuple[int, int]] = {
            "intermediate": (shape.hidden_size, shape.intermediate_width),
            "output": (shape.intermediate_size, shape.hidden_size),
        }
        square = (shape.hidden_size, shape.hidden_size)
        square_targets = sum(target not in features for target in targets)
        inner = "(d_m + 2 d_ff)" if shape.gated else "(d_m + d_ff)"
        counted = Counter({"2 d_m": square_targets})
        counted.update({inner: "intermediate" in targets})
        counted.update({"(d_m + d_ff)": "output" in targets})
        self.formula = f"L * d_s * ({' + '.join(f'{count} * {sizes}' for sizes, count in counted.items() if count)})"
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: Product(*features.get(name, square), rank, alpha or 2.0 * rank) for name in targets})
            for _ in range(shape.num_layers)
        )

    def num_weights(self) -> int:
        """L * d_s * the sum over the targets of (features in + features out)."""
        return sum(parameter.numel() for parameter in self.parameters())

    def products(self) -> Iterator[tuple[int, Target, "Product"]]:
        """Yield the index of a layer, a target, and the product at it."""
        for index, layer in enumerate(self.layers):
            for target, product in cast(nn.ModuleDict, layer).items():
                yield index, cast(Target, target), cast(Product, product)

    def after_linear(
        self, y: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], name: Linear, layer: int
    ) -> Float[Tensor, "tokens out"]:
        """Return y + (alpha / r) B A x if the linear layer is a target, otherwise y."""
        products = cast(Mapping[str, Product], self.layers[layer])
        if name != "qkv":
            return y + products[name](self.dropout(x)) if name in products else y
        if not any(target in products for target in _QKV):
            return y
        x = self.dropout(x)
        thirds = y.chunk(3, -1)
        pairs = zip(_QKV, thirds, strict=True)
        return torch.cat([third + products[target](x) if target in products else third for target, third in pairs], -1)


class Product(nn.Module):
    """(alpha / r) B A x.

    Args:
        features_in: number of features of x.
        features_out: number of features of the result.
        rank: r.
        alpha: the product is scaled by alpha / r.
    """

    def __init__(self, features_in: int, features_out: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(drawn(rank, features_in))
        self.up = nn.Parameter(torch.zeros(features_out, rank))

    def forward(self, x: Float[Tensor, "tokens in"]) -> Float[Tensor, "tokens out"]:
        """Return (alpha / r) B A x."""
        return linear(linear(x, self.down), self.up) * self.scale
