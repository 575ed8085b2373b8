"""A saved model that reads the adapters and the head of a task when they are first used."""

from collections.abc import Callable, Sequence
from threading import Lock

import torch

from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.model.multi_task_bert import MultiTaskBert, TaskPart
from mbert_cli.pooling import Pooling


class LazyMultiTaskBert(MultiTaskBert):
    """A model that reads each task when it is first used, so that other tasks take no time and no memory.

    `parameters` and `state_dict` contain only the tasks that were read.

    Args:
        encoder: the shared encoder.
        pooling: reduces hidden states to sentence vectors.
        names: the names of the tasks.
        read: reads a task.
    """

    def __init__(
        self, encoder: PackedEncoder, pooling: Pooling, names: Sequence[str], read: Callable[[str], TaskPart]
    ) -> None:
        super().__init__(encoder, pooling, {})
        self.task_names = tuple(names)
        self._read = read
        self._lock = Lock()

    def task(self, name: str) -> TaskPart:
        """Return the task-specific part of a task; read it at the first call."""
        with self._lock:
            if name not in self._loaded:
                # Inference tensors could never be trained or changed.
                with torch.inference_mode(False):
                    self._add(name, self._read(name))
        return super().task(name)

    def _add(self, name: str, part: TaskPart) -> None:
        part.to(self.encoder.word_embeddings.weight.device).train(self.training)
        self._parts.append(part)
        self._loaded.append(name)
