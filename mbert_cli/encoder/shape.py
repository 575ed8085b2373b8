"""The sizes of an encoder, which suffice to build it or to count its parameters."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class EncoderShape:
    """Sizes and constants of an encoder, and its variations on BERT. The defaults are those of BERT-base.

    Args:
        vocab_size: rows of the word embedding table.
        hidden_size: d_m, number of features of a hidden state.
        num_layers: L, number of encoder layers.
        num_heads: number of attention heads; divides hidden_size.
        intermediate_size: number of features inside the feed-forward sublayer.
        max_positions: the maximum length of a sentence in tokens.
        type_vocab_size: rows of the token type table; 0 if there is none.
        activation: activation of the feed-forward sublayer, one of `encoder.layer.ACTIVATIONS`.
        layer_norm_eps: added to the variance in LayerNorm.
        dropout: probability of dropping a feature of a sublayer's output.
        attention_dropout: probability of dropping an attention weight.
        family: `model_type` of the checkpoint's config.json, which is a module of `encoder.families`.
        has_pooler: whether the encoder has a pooler.
        first_position: row of the position table for the first token of a sentence; rows below it are not used.
        embedding_size: number of features of an embedding, if it differs from that of a hidden state; 0 otherwise.
        always_projects: whether a linear layer follows the embeddings even if they have the hidden size.
        shares_layers: whether all layers have the same weights.
        relative_buckets: number of buckets of distances that have a bias on attention scores; 0 if there is no bias.
        task_type_vocab_size: rows of the table of pretraining tasks.
        uses_task_types: whether the encoder has that table; its first row is added to every token.
        position_table: whether the encoder has a position table.
        norm_first: whether a LayerNorm precedes each sublayer instead of following its residual connection.
        norm_bias: whether LayerNorms add a bias.
        attention_bias: whether the linear layers of attention have biases.
        intermediate_bias: whether the first linear layer of the feed-forward sublayer has a bias.
        output_bias: whether the last linear layer of the feed-forward sublayer has a bias.
        gated: whether half of the features inside the feed-forward sublayer multiply the activation of the other half.
        rotary_theta: the base of rotary positions, see `encoder.rotation`; 0 if there are none.
        local_rotary_theta: the base in local layers.
        local_window: in local layers, a token attends to local_window / 2 tokens on each side.
        global_every: every n-th layer attends to the whole sentence, from the first layer on; the others are local.
        position_buckets: number of embeddings of distances on each side, see `encoder.disentangled`; 0 if attention is
            not disentangled.
        max_distance: all distances from this one on share the last embedding.
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
    family: str = "bert"
    has_pooler: bool = True
    first_position: int = 0
    embedding_size: int = 0
    always_projects: bool = False
    shares_layers: bool = False
    relative_buckets: int = 0
    task_type_vocab_size: int = 0
    uses_task_types: bool = False
    position_table: bool = True
    norm_first: bool = False
    norm_bias: bool = True
    attention_bias: bool = True
    intermediate_bias: bool = True
    output_bias: bool = True
    gated: bool = False
    rotary_theta: float = 0.0
    local_rotary_theta: float = 0.0
    local_window: int = 0
    global_every: int = 1
    position_buckets: int = 0
    max_distance: int = 0

    @property
    def embedding_width(self) -> int:
        """Number of features of an embedding."""
        return self.embedding_size or self.hidden_size

    @property
    def projects_embeddings(self) -> bool:
        """Whether a linear layer maps embeddings to the hidden size."""
        return self.always_projects or self.embedding_width != self.hidden_size

    @property
    def own_layers(self) -> int:
        """Number of layers with weights of their own."""
        return 1 if self.shares_layers else self.num_layers

    @property
    def intermediate_width(self) -> int:
        """Number of outputs of the first linear layer of the feed-forward sublayer."""
        return self.intermediate_size * (2 if self.gated else 1)

    def dropping(self, p: float | None) -> "EncoderShape":
        """Return the shape with both dropout probabilities set to p; None changes nothing."""
        return self if p is None else replace(self, dropout=p, attention_dropout=p)
