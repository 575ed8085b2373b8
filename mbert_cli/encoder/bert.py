"""The BERT encoder: embeddings and layers."""

from collections.abc import Sequence
from typing import cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.padding import Padding
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.encoder.shape import EncoderShape


class BertEncoder(nn.Module):
    """BERT (Devlin et al. 2018) on packed sentences. For each sentence it equals `transformers.BertModel`.

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
        # Part of every BERT checkpoint and its parameter count. Only `pooling: {kind: cls, pooler: true}` uses it.
        self.pooler = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.folded = False  # see `encoder.folding`

    def forward(
        self,
        token_ids: Int[Tensor, " tokens"],
        token_types: Int[Tensor, " tokens"],
        positions: Int[Tensor, " tokens"],
        layout: Layout,
        adapters: Sequence[Sequence[Adapter]] = (),
        features: Float[Tensor, "tokens hidden"] | None = None,
    ) -> Float[Tensor, "tokens hidden"]:
        """Return the hidden states after the last layer and all adapters, including those on top.

        Args:
            token_ids: vocabulary ids of the packed sentences.
            token_types: 0 for a first sentence, 1 for the second sentence of a pair in one sequence.
            positions: position of each token in its sentence, from 0.
            layout: positions of the sentences in the stream.
            adapters: the adapters of each segment of the layout; none by default.
            features: the result of `body` for these tokens, if it is already known.
        """
        padding, sites = self._sites(layout, adapters)
        if features is None:
            ids, types, places = (padding.pad(each) for each in (token_ids, token_types, positions))
            h = self.layers_over(ids, types, places, padding.layout, sites)
        else:
            h = padding.pad(features)
        return padding.unpad(sites.on_top(h))

    def body(
        self,
        token_ids: Int[Tensor, " tokens"],
        token_types: Int[Tensor, " tokens"],
        positions: Int[Tensor, " tokens"],
        layout: Layout,
        adapters: Sequence[Sequence[Adapter]] = (),
    ) -> Float[Tensor, "tokens hidden"]:
        """Return the hidden states before the adapters on top; the arguments are those of `forward`."""
        padding, sites = self._sites(layout, adapters)
        ids, types, places = (padding.pad(each) for each in (token_ids, token_types, positions))
        return padding.unpad(self.layers_over(ids, types, places, padding.layout, sites))

    def _sites(self, layout: Layout, adapters: Sequence[Sequence[Adapter]]) -> tuple[Padding, SegmentAdapters]:
        padding = Padding(layout, segments=any(adapters))
        of_padding: list[Sequence[Adapter]] = [[]] * (padding.more_segments if adapters else 0)
        return padding, SegmentAdapters(padding.layout, [*adapters, *of_padding], self.folded)

    def drop(self, shape: EncoderShape) -> None:
        """Set the dropout probabilities to those of `shape`; its other fields are ignored."""
        self.dropout_p = shape.dropout
        for layer in self.layers:
            cast(EncoderLayer, layer).drop(shape)

    def layers_over(
        self,
        token_ids: Int[Tensor, " tokens"],
        token_types: Int[Tensor, " tokens"],
        positions: Int[Tensor, " tokens"],
        layout: AnyLayout,
        sites: SegmentAdapters,
    ) -> Float[Tensor, "tokens hidden"]:
        """Return the hidden states after the last layer, before the adapters on top. No tokens are added.

        Args:
            token_ids: see `forward`.
            token_types: see `forward`.
            positions: see `forward`.
            layout: positions of the sentences in the stream.
            sites: the adapters of the segments of the layout.
        """
        tables = (self.word_embeddings, self.position_embeddings, self.type_embeddings)
        h = kernels.current().embed(tables, [token_ids, positions, token_types], self.embedding_norm)
        h = sites.after_norm(h, "embedding_norm", 0)
        h = Pending(h, dropout_p=self.dropout_p if self.training else 0.0).tensor()
        for index, layer in enumerate(self.layers):
            h = layer(h, layout, sites, index)
        return h
