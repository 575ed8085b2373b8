"""A frozen encoder's hidden states, computed once for every token and kept in a file."""

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
from mbert_cli.disk import disk_errors
from mbert_cli.model import MultiTaskBert
from mbert_cli.progress import Bar, Talk
from mbert_cli.training_data import TrainingData

_TOKENS = 4096  # of a batch


def cache_features(model: MultiTaskBert, data: TrainingData, folder: Path, talk: Talk) -> TrainingData:
    """Return a run's examples with the hidden states of their tokens after the encoder's last layer.

    They are computed without dropout. The file has no name: it goes when the process ends, however that is.

    Args:
        model: its encoder does not train, and no adapter acts inside it; it is put into evaluation mode.
        data: the examples.
        folder: on the disk that is to hold the file.
        talk: where progress is told.

    Raises:
        ResourceError: the disk is too small.
    """
    model.eval()
    splits = (data.train, data.dev)
    tokens = sum(len(side.ids) for split in splits for task in split.values() for side in task.sides)
    file = _Memory(folder, tokens * model.encoder.shape.hidden_size * model.compute_dtype.itemsize)
    with talk.bar("features of the frozen encoder", tokens) as bar:
        train, dev = ({name: _with_features(model, name, task, file, bar) for name, task in s.items()} for s in splits)
    return TrainingData(train, dev)


class _Memory:
    """A file without a name, taken piece by piece as tensors."""

    def __init__(self, folder: Path, size: int) -> None:
        self.taken = 0
        with disk_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(max(1, size))
            if hasattr(os, "posix_fallocate"):
                # All of it now: a disk that is full later would kill the process at a write to memory.
                os.posix_fallocate(file.fileno(), 0, max(1, size))
            self.memory = mmap.mmap(file.fileno(), max(1, size))

    def take(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        size = rows * columns
        found = torch.frombuffer(self.memory, dtype=dtype, count=size, offset=self.taken) if size else torch.empty(0)
        self.taken += size * dtype.itemsize
        return found.view(rows, columns)

    def let_go(self) -> None:
        """Take the file's pages out of the process's memory; the system keeps them or writes them to disk."""
        self.memory.madvise(mmap.MADV_DONTNEED)


def _with_features(model: MultiTaskBert, name: str, task: TaskData, memory: _Memory, bar: Bar) -> TaskData:
    hidden = model.encoder.shape.hidden_size
    features = []
    for side in task.sides:
        found = memory.take(len(side.ids), hidden, model.compute_dtype)
        _compute(model, name, side, found, memory, bar)
        features.append(found)
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
