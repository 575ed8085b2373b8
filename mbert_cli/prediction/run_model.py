"""Run a model over examples in batches."""

from collections import deque
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch
from mbert_cli.data.batching import TaskData, by_length, pack
from mbert_cli.errors import is_out_of_memory
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.sentence_model import SentenceModel

# Tokens of a batch: more fill no more of the device.
TOKEN_BUDGETS = {"cpu": 4096, "cuda": 32768}


def run_model(
    model: SentenceModel,
    task: str,
    data: TaskData,
    batch_size: int | None = None,
    token_budget: int | None = None,
    vectors: bool = False,
) -> Tensor:
    """Return the outputs of a task's head for all examples, in their order, on the CPU; the mean over both orders.

    A batch that memory has no room for is computed in halves, and so are the following ones that are as large.

    Args:
        model: the model; it is put into evaluation mode.
        task: the task's name.
        data: its examples.
        batch_size: examples of a batch at most.
        token_budget: tokens of a batch at most; as many as keep the device busy by default.
        vectors: return the vectors that the head would get, of examples of one side, in place of its outputs.
    """
    model.eval()
    device = model.device
    token_budget = token_budget or TOKEN_BUDGETS[device.type]
    both_orders = data.swapped is not None and not vectors
    if data.swapped is not None and both_orders:
        sides = zip(model.head(task).sides, data.swapped.sides, strict=True)
        data = replace(data, sides=(*data.sides, *(tokens for side, tokens in sides if side == "whole")))
    outputs, order = [], []
    lengths, pending = data.lengths, deque(by_length(data, token_budget, batch_size))
    most = token_budget  # tokens that memory has room for
    with torch.inference_mode():
        while pending:
            rows = pending.popleft()
            if len(rows) > 1 and lengths[rows].sum() > most:
                pending.extendleft(reversed(np.array_split(rows, 2)))
                continue
            try:
                batch = pack({task: data}, {task: rows}, device)
                output = _vectors(model, batch) if vectors else model(batch, both_orders)[task]
                outputs.append(output.float())
            except (MemoryError, RuntimeError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
                most = int(lengths[rows].sum()) // 2
                pending.appendleft(rows)
                continue
            order.append(rows)
        # Copied at last: a GPU is never waited for between two batches.
        return torch.cat(outputs).cpu()[torch.from_numpy(np.argsort(np.concatenate(order)))]


def _vectors(model: SentenceModel, batch: Batch) -> Tensor:
    assert isinstance(model, MultiTaskBert), "an ensemble has no sentence vectors"
    return model.vectors(batch)
