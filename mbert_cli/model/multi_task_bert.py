"""MultiTaskBert: one shared encoder, and for each task its adapters and its head."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Batch, Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.dropout import numbered
from mbert_cli.encoder.folding import can_fold, fold
from mbert_cli.encoder.kernels.product import Copies, Linear, renew
from mbert_cli.encoder.late_interaction import max_sim
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.heads import Head
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.pooling import Pooling
from mbert_cli.pooling.mean import Mean


class TaskPart(nn.Module):
    """The task-specific part of a model.

    Args:
        adapters: the task's adapters, in the order in which they act.
        head: the task's head.
        window_pooling: reduces the vectors of a text's windows to one vector; by default their mean. It has no
            parameters.
    """

    def __init__(self, adapters: Sequence[Adapter], head: Head, window_pooling: Pooling | None = None) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(adapters)
        self.head = head
        self.window_pooling = window_pooling or Mean()

    def adapter_list(self) -> list[Adapter]:
        """Return the task's adapters, in the order in which they act."""
        return cast(list[Adapter], list(self.adapters))


class MultiTaskBert(SentenceModel):
    """One encoder for many tasks.

    A packed batch has one contiguous segment per task. The encoder runs once over the whole stream. The adapters of a
    task act on its segment; then its sentences are pooled and passed to its head.

    Args:
        encoder: the shared encoder.
        pooling: reduces hidden states to sentence vectors.
        tasks: the task-specific part of each task.
    """

    def __init__(self, encoder: PackedEncoder, pooling: Pooling, tasks: Mapping[str, TaskPart]) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.task_names = tuple(tasks)
        self._loaded = list(tasks)
        self._parts = nn.ModuleList(tasks.values())
        self._linears: dict[str, tuple[Linear, ...]] = {}  # of the encoder and one task, which is only then read
        self.compute_with(torch.float32, "torch")

    def members(self) -> list["MultiTaskBert"]:
        """Return this model: it is not an ensemble."""
        return [self]

    def compute_with(self, dtype: torch.dtype, kernels: str) -> None:
        """Set the data type and the kernels of the encoder and the adapters."""
        self.compute_dtype = dtype
        self.kernels = kernels

    def task(self, name: str) -> TaskPart:
        """Return the task-specific part of a task."""
        part = self._parts[self._loaded.index(name)]
        assert isinstance(part, TaskPart)
        return part

    def folded(self, name: str) -> "MultiTaskBert":
        """Return a model for the prediction of one task, with its adapters folded into the encoder where possible.

        If nothing can be folded, return this model.
        """
        part = self.task(name)
        if not can_fold(part.adapter_list()):
            return self
        model = MultiTaskBert(fold(self.encoder, part.adapter_list()), self.pooling, {name: part}).eval()
        model.compute_with(self.compute_dtype, self.kernels)
        return model

    def train_only(self, tasks: Sequence[str] | None) -> None:
        """Train everything (None), or only the task-specific parts of `tasks`, and freeze the rest.

        Frozen parameters get no gradient. With a zero gradient, AdamW would still decay and update them.
        """
        self.requires_grad_(tasks is None)
        for name in tasks or ():
            self.task(name).requires_grad_(True)

    def renew_copies(self, tasks: Sequence[str]) -> Copies:
        """Update the outdated copies of the weights of tasks in the data type of the computation; return them."""
        if self.compute_dtype == torch.float32:
            return []
        # One call for all copies: on a GPU, launching a copy takes longer than the copy.
        return renew(pair for linear in self.linears_of(tasks) for pair in linear.outdated(self.compute_dtype))

    def linears_of(self, tasks: Sequence[str]) -> list[Linear]:
        """Return the layers of the encoder and of tasks whose weights have copies."""
        return list(dict.fromkeys(linear for name in tasks for linear in self._linears_of(name)))

    def body(self, batch: Batch) -> Float[Tensor, "tokens hidden"]:
        """Return the hidden states after the encoder's last layer, before the adapters on top."""
        with self._computing(batch):
            return self.encoder.body(*self._inputs(batch))

    def vectors(self, batch: Batch) -> Float[Tensor, "sentences hidden"]:
        """Return the sentence vectors of the batch: the input of the heads."""
        vectors = self._pool(self._hidden(batch), batch)
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors)

    def forward(self, batch: Batch, both_orders: bool = False) -> dict[str, Tensor]:
        """Return the outputs of each task's head for the batch's examples; see `SentenceModel.forward`."""
        h, layout = self._hidden(batch), batch.layout
        with kernels.using(self.kernels, batch.token_ids.device):
            return self._outputs(h, batch, layout, both_orders)

    def _outputs(self, h: Tensor, batch: Batch, layout: Layout, both_orders: bool) -> dict[str, Tensor]:
        # Pooling and heads are a small part of the work, and the losses need full precision.
        sentences, tokens = self._pool(h, batch), h.split(layout.segment_tokens)
        outputs = {}
        for name, vectors, states, place in zip(batch.tasks, sentences, tokens, layout.segments, strict=True):
            head = self.head(name)
            # A segment contains one side of all examples, then the next side of all examples.
            count = len(head.sides) + both_orders * head.sides.count("whole")
            sides = vectors.view(count, -1, vectors.shape[-1]).unbind() if count > 1 else (vectors,)
            texts = place.joined(batch.windows[name]) if name in batch.windows else place
            late = [max_sim(states, texts, len(sides[0]))] if head.late_interaction else []
            with numbered(partial(batch.places.get, name)):
                output = head(*sides[: len(head.sides)], *late)
            outputs[name] = (output + head(*_exchanged(head, sides), *late)) / 2 if both_orders else output
        return outputs

    def _hidden(self, batch: Batch) -> Float[Tensor, "tokens hidden"]:
        """Return the hidden states after the last layer and the adapters on top."""
        with self._computing(batch):
            return self.encoder(*self._inputs(batch), batch.features)

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Layout, list[list[Adapter]]]:
        adapters = [self.task(name).adapter_list() for name in batch.tasks]
        return batch.token_ids, batch.token_types, batch.positions, batch.layout, adapters

    @contextmanager
    def _computing(self, batch: Batch) -> Iterator[None]:
        self.renew_copies(batch.tasks)
        device = batch.token_ids.device
        precision = torch.autocast(device.type, self.compute_dtype, self.compute_dtype != torch.float32)
        with kernels.using(self.kernels, device), precision:
            yield

    def _linears_of(self, name: str) -> tuple[Linear, ...]:
        """Return the layers of the encoder and of a task whose weights have copies."""
        if name not in self._linears:
            parts = self.encoder, self.task(name)
            self._linears[name] = tuple(each for part in parts for each in part.modules() if isinstance(each, Linear))
        return self._linears[name]

    def _pool(self, h: Float[Tensor, "tokens hidden"], batch: Batch) -> list[Tensor]:
        """Return the sentence vectors of each task; a text with several windows has one vector."""
        sentences: Tensor = self.pooling(h, batch.layout).to(self.encoder.embedding_norm.weight.dtype)
        if self.pooling.pooler:
            assert self.encoder.pooler is not None  # checked by `build_model`
            sentences = torch.tanh(self.encoder.pooler(sentences))
        vectors = zip(batch.tasks, _of_segments(sentences, batch.layout), strict=True)
        windows = batch.windows
        return [self.task(name).window_pooling(own, windows[name]) if name in windows else own for name, own in vectors]


def _of_segments(sentences: Float[Tensor, "sentences hidden"], layout: Layout) -> Sequence[Tensor]:
    """Return the vectors of the sentences of each segment, without those of dummy sentences."""
    counts = layout.segment_sentences
    if not layout.dummies:
        return sentences.split(counts)
    parts = zip(counts, layout.dummies, strict=True)
    return sentences.split([size for count, dummies in parts for size in (count - dummies, dummies)])[::2]


def _exchanged(head: Head, sides: Sequence[Float[Tensor, "examples hidden"]]) -> list[Tensor]:
    """Return the vectors of a head's sides with the two texts swapped."""
    vectors = dict(zip((*head.sides, "again"), sides, strict=False))
    return [vectors[{"first": "second", "second": "first", "whole": "again"}[side]] for side in head.sides]
