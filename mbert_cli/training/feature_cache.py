"""The hidden states of a frozen encoder, computed once for every token and stored in a file."""

import mmap
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mbert_cli.data.batching import TaskData, by_length, pack, token_places
from mbert_cli.data.tokenizer import Tokens
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.storage.disk import disk_errors
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.progress import Bar
from mbert_cli.training.datasets import TrainingData

_TOKENS = 4096  # per batch


def cache_features(model: MultiTaskBert, data: TrainingData, folder: Path, console: Console) -> TrainingData:
    """Return a run's examples with the hidden states of their tokens after the encoder's last layer.

    They are computed without dropout. The file has no name, so the system deletes it when the process ends, even if it
    crashes.

    Args:
        model: a model with a frozen encoder and no adapter inside it; it is switched to evaluation mode.
        data: the examples.
        folder: a folder on the disk for the file.
        console: shows progress.

    Raises:
        ResourceError: the disk is too small.
    """
    model.eval()
    splits = (data.train, data.dev)
    file = _Memory(folder, features_size(model, data))
    with console.bar("features of the frozen encoder", _count_tokens(data)) as bar:
        train, dev = ({name: _with_features(model, name, task, file, bar) for name, task in s.items()} for s in splits)
    return TrainingData(train, dev)


def features_size(model: MultiTaskBert, data: TrainingData) -> int:
    """Return the size of the file of `cache_features`, in bytes."""
    return _count_tokens(data) * model.encoder.shape.hidden_size * model.compute_dtype.itemsize


def _count_tokens(data: TrainingData) -> int:
    return sum(len(side.ids) for split in (data.train, data.dev) for task in split.values() for side in task.sides)


class _Memory:
    """A memory-mapped file without a name, divided into tensors."""

    def __init__(self, folder: Path, size: int) -> None:
        self.taken = 0
        with disk_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(max(1, size))
            if hasattr(os, "posix_fallocate"):
                # Allocate the whole file now. If the disk were full later, a write to memory would kill the process.
                os.posix_fallocate(file.fileno(), 0, max(1, size))
            self.memory = mmap.mmap(file.fileno(), max(1, size))

    def take(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        size = rows * columns
        tensor = torch.frombuffer(self.memory, dtype=dtype, count=size, offset=self.taken) if size else torch.empty(0)
        self.taken += size * dtype.itemsize
        return tensor.view(rows, columns)

    def let_go(self) -> None:
        """Release the file's pages from the memory of the process; the system caches them or writes them to disk."""
        self.memory.madvise(mmap.MADV_DONTNEED)


def _with_features(model: MultiTaskBert, name: str, task: TaskData, memory: _Memory, bar: Bar) -> TaskData:
    hidden = model.encoder.shape.hidden_size
    features = []
    for side in task.sides:
        states = memory.take(len(side.ids), hidden, model.compute_dtype)
        _compute(model, name, side, states, memory, bar)
        features.append(states)
    return replace(task, features=tuple(features))


def _compute(model: MultiTaskBert, name: str, side: Tokens, out: Tensor, memory: _Memory, bar: Bar) -> None:
    device = model.encoder.word_embeddings.weight.device
    data: Mapping[str, TaskData] = {name: TaskData((side,), None)}
    with torch.inference_mode():
        for rows in by_length(data[name], _TOKENS):
            h = model.body(pack(data, {name: rows}, device))
            out[torch.from_numpy(token_places(side, rows))] = h.to("cpu", out.dtype)
            bar.advance(by=len(h))
            memory.let_go()
