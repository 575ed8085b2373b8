"""The sizes of an encoder, which suffice to build it or to count its parameters."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class EncoderShape:
    """Sizes and constants of a BERT encoder. The defaults are those of BERT-base.

    Args:
        vocab_size: rows of the word embedding table.
        hidden_size: d_m, number of features of a hidden state.
        num_layers: L, number of encoder layers.
        num_heads: number of attention heads; divides hidden_size.
        intermediate_size: number of features inside the feed-forward sublayer.
        max_positions: rows of the position embedding table: the maximum length of a sentence in tokens.
        type_vocab_size: rows of the token type table.
        activation: activation of the feed-forward sublayer, one of `encoder.layer.ACTIVATIONS`.
        layer_norm_eps: added to the variance in LayerNorm.
        dropout: probability of dropping a feature of a sublayer's output.
        attention_dropout: probability of dropping an attention weight.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    type_vocab_size: int = 2
    activation: str = "gelu"
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def dropping(self, p: float | None) -> "EncoderShape":
        """Return the shape with both dropout probabilities set to p; None changes nothing."""
        return self if p is None else replace(self, dropout=p, attention_dropout=p)
