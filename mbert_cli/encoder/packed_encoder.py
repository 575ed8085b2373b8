"""The encoder: embeddings and layers."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.dropout import numbered
from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.layer import EncoderLayer, Stream
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.padding import Padding
from mbert_cli.encoder.positions import RelativePositions
from mbert_cli.encoder.recomputation import recomputed
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.encoder.shape import EncoderShape


class PackedEncoder(nn.Module):
    """An encoder of any family on packed sentences. For each sentence it equals the model of `transformers`.

    It is BERT (Devlin et al. 2018) with the variations that the shape selects: see `encoder.families`.

    Args:
        shape: sizes and variations of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        width, hidden = shape.embedding_width, shape.hidden_size
        self.word_embeddings = nn.Embedding(shape.vocab_size, width)
        places = shape.first_position + shape.max_positions
        self.position_embeddings = nn.Embedding(places, width) if shape.position_table else None
        self.type_embeddings = nn.Embedding(shape.type_vocab_size, width) if shape.type_vocab_size else None
        rows = shape.task_type_vocab_size if shape.uses_task_types else 0
        self.task_type_embeddings = nn.Embedding(rows, width) if rows else None
        self.embedding_norm = nn.LayerNorm(width, eps=shape.layer_norm_eps, bias=shape.norm_bias)
        self.embedding_projection = Linear(width, hidden) if shape.projects_embeddings else None
        self.dropout_p = shape.dropout
        self.positions = RelativePositions(shape)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.own_layers))
        # Part of the checkpoint and its parameter count. Only `pooling: {kind: cls, pooler: true}` uses it.
        self.pooler = nn.Linear(hidden, hidden) if shape.has_pooler else None
        self.folded = False  # see `encoder.folding`
        self.recomputes = False  # in training: see `encoder.recomputation`

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
        padding = Padding(layout, any(adapters))
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
        with numbered(partial(getattr, layout, "rows")):
            return self._layers_over(token_ids, token_types, positions, layout, sites)

    def _layers_over(
        self, token_ids: Tensor, token_types: Tensor, positions: Tensor, layout: AnyLayout, sites: SegmentAdapters
    ) -> Float[Tensor, "tokens hidden"]:
        h = self._embed(token_ids, positions, token_types)
        h = sites.after_norm(h, "embedding_norm", 0)
        h = Pending(h, dropout_p=self.dropout_p if self.training else 0.0).tensor()
        if self.embedding_projection is not None:
            h = kernels.current().linear(h, self.embedding_projection).tensor()
        stream, places = Stream(h, h), self.positions(layout.longest, h.device)
        # Not the last layer: the backward pass needs its activations first, so that keeping them needs no more memory.
        again = range(self.shape.num_layers - 1 if self.recomputes and self.training and torch.is_grad_enabled() else 0)
        for index in range(self.shape.num_layers):
            layer, arguments = self.layers[index % len(self.layers)], (stream, layout, places, sites, index)
            stream = recomputed(layer, *arguments) if index in again else layer(*arguments)
        return stream.normed

    def _embed(self, token_ids: Tensor, positions: Tensor, token_types: Tensor) -> Float[Tensor, "tokens width"]:
        """Return LN of the sum of each token's embeddings."""
        tables, ids = [self.word_embeddings], [token_ids]
        if self.position_embeddings is not None:
            first = self.shape.first_position
            tables.append(self.position_embeddings)
            ids.append(positions + first if first else positions)
        if self.type_embeddings is not None:
            one = self.type_embeddings.num_embeddings == 1
            tables.append(self.type_embeddings)
            ids.append(torch.zeros_like(token_types) if one else token_types)
        if self.task_type_embeddings is not None:
            tables.append(self.task_type_embeddings)
            ids.append(torch.zeros_like(token_ids))
        embedded: Tensor = kernels.current().embed(tables, ids, self.embedding_norm)
        return embedded
