"""The BERT encoder: embeddings and layers, tokens in, hidden states out."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.encoder.shape import EncoderShape


class BertEncoder(nn.Module):
    """BERT (Devlin et al. 2018) on packed sentences, equal to `transformers.BertModel` sentence by sentence.

    Args:
        shape: sizes of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.word_embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position_embeddings = nn.Embedding(shape.max_positions, shape.hidden_size)
        self.type_embeddings = nn.Embedding(shape.type_vocab_size, shape.hidden_size)
        self.embedding_norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dropout_p = shape.dropout
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.num_layers))
        # Part of every BERT checkpoint, and of its parameter count; only `pooling: {kind: cls, pooler: true}` uses it.
        self.pooler = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.folded = False  # see `encoder.folding`

    def forward(
        self,
        token_ids: Int[Tensor, " tokens"],
        token_types: Int[Tensor, " tokens"],
        positions: Int[Tensor, " tokens"],
        layout: Layout,
        adapters: Sequence[Sequence[Adapter]] = (),
    ) -> Float[Tensor, "tokens hidden"]:
        """Return the last layer's hidden states, with the adapters applied, those on top too; see `body`."""
        return self.on_top(self.body(token_ids, token_types, positions, layout, adapters), layout, adapters)

    def body(
        self,
        token_ids: Int[Tensor, " tokens"],
        token_types: Int[Tensor, " tokens"],
        positions: Int[Tensor, " tokens"],
        layout: Layout,
        adapters: Sequence[Sequence[Adapter]] = (),
    ) -> Float[Tensor, "tokens hidden"]:
        """Return the last layer's hidden states, with the adapters inside the encoder applied.

        Args:
            token_ids: vocabulary ids of the packed sentences.
            token_types: 0 for a first sentence, 1 for a second one read together with it.
            positions: place of each token in its sentence, from 0.
            layout: where the sentences lie.
            adapters: those of each segment of the layout; none at all by default.
        """
        tables = (self.word_embeddings, self.position_embeddings, self.type_embeddings)
        own, padding = layout.num_tokens, _padding(layout.num_tokens)
        ids = [nn.functional.pad(each, (0, padding)) for each in (token_ids, positions, token_types)]
        layout, adapters = layout.padded(padding), [*adapters, []] if adapters and padding else adapters
        sites = SegmentAdapters(layout, adapters, self.folded)
        h = kernels.current().embed(tables, ids, self.embedding_norm)
        h = sites.after_norm(h, "embedding_norm", 0)
        h = Pending(h, dropout_p=self.dropout_p if self.training else 0.0).tensor()
        for index, layer in enumerate(self.layers):
            h = layer(h, layout, sites, index)
        return h[:own]

    def on_top(
        self, h: Float[Tensor, "tokens hidden"], layout: Layout, adapters: Sequence[Sequence[Adapter]] = ()
    ) -> Float[Tensor, "tokens hidden"]:
        """Return what the adapters on top make of the last layer's hidden states."""
        return SegmentAdapters(layout, adapters, self.folded).on_top(h)


def _padding(tokens: int) -> int:
    """Return how many tokens to add to a stream, as one sentence more, which nobody reads.

    Libraries of matrix products prepare themselves for every new size, which takes time and memory; so there shall be
    few sizes, and multiples of 64 are the fastest. For short streams that would cost more than it saves.
    """
    return -tokens % 64 if tokens > 512 else 0
