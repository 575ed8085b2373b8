"""The paper's task-specific layer on top of the shared encoder."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.initialisation import initialise
from mbert_cli.encoder.layer import EncoderLayer, Stream
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.positions import RelativePositions
from mbert_cli.encoder.shape import EncoderShape


class Top(Adapter):
    """Top layer: one more encoder layer per task, on top of the shared encoder and before pooling.

    Source: Multi-BERT paper, "Parameters Adaption Methods", "Projected Attention on Top".
    Starts as a copy of the encoder's last layer: a random layer at the paper's learning rate of 1e-5 risks collapse.
    Parameters per task: 12 hidden_size^2 if the intermediate size is 4 hidden_size and the feed-forward sublayer is not
    gated, plus biases, LayerNorms and, for an encoder with parameters of distances (MPNet, DeBERTa), a copy of them.
    With a LayerNorm before each sublayer, the residual stream of the added layer starts at the encoder's output.

    Args:
        shape: sizes of the encoder being adapted.
        init: `copy` copies the last layer; `random` draws initial values as for BERT.
    """

    def __init__(self, shape: EncoderShape, *, init: Literal["copy", "random"] = "copy") -> None:
        super().__init__()
        usual = shape.intermediate_width == 4 * shape.hidden_size and not shape.gated
        self.formula = "12 d_m^2" if usual else f"4 d_m^2 + {3 if shape.gated else 2} d_m d_ff"
        self.init = init
        self.index = shape.num_layers - 1  # it attends like the last layer
        self.layer = EncoderLayer(shape)
        self.positions = RelativePositions(shape)
        initialise(self)

    def num_weights(self) -> int:
        """4 d_m^2 + 2 d_m d_ff, which is 12 d_m^2 if d_ff = 4 d_m; with a gate, 4 d_m^2 + 3 d_m d_ff."""
        return sum(part.weight.numel() for part in self.layer.modules() if isinstance(part, nn.Linear))

    def start_from(self, encoder: nn.Module) -> None:
        """Copy the encoder's last layer, unless `init` is `random`."""
        assert isinstance(encoder, PackedEncoder)
        if self.init == "copy":
            self.layer.load_state_dict(encoder.layers[-1].state_dict())
            self.positions.load_state_dict(encoder.positions.state_dict())

    def on_top(self, x: Float[Tensor, "tokens hidden"], layout: AnyLayout) -> Float[Tensor, "tokens hidden"]:
        """Apply the layer to x."""
        positions = self.positions(layout.longest, x.device)
        stream: Stream = self.layer(Stream(x, x), layout, positions, layer=self.index)
        return stream.normed
