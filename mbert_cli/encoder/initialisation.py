"""Initial values."""

from torch import nn

INIT_STD = 0.02  # BERT's initializer range


def initialise(module: nn.Module) -> None:
    """Draw BERT's initial values: N(0, .02) for matrices, 0 for biases, 1 and 0 for LayerNorm."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=INIT_STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=INIT_STD)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def start_projections(down: nn.Linear, up: nn.Linear, init_std: float) -> None:
    """Give a bottleneck its initial values: `up` zero (or N(0, init_std)), so that V_D f(V_E x) starts at zero.

    Args:
        down: V_E, drawn as BERT's own matrices are.
        up: V_D.
        init_std: standard deviation of V_D's initial values.
    """
    initialise(down)
    nn.init.normal_(up.weight, std=init_std) if init_std else nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
