"""Run a model over examples in batches."""

from collections import deque
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.data.batching import TaskData, by_length, pack
from mbert_cli.errors import is_out_of_memory
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.prediction.forward import Forward
from mbert_cli.prediction.forward_graphs import ForwardGraphs

# Tokens of a batch. Larger batches are not faster.
TOKEN_BUDGETS = {"cpu": 4096, "cuda": 32768}


def run_model(
    model: SentenceModel,
    task: str,
    data: TaskData,
    batch_size: int | None = None,
    token_budget: int | None = None,
    vectors: bool = False,
    processes: Processes = ALONE,
    graphs: ForwardGraphs | None = None,
) -> Tensor:
    """Return the outputs of a task's head for all examples, in their order, on the CPU.

    If the examples can be swapped, an output is the mean over both orders of a pair. A batch that does not fit in
    memory is computed in halves, and so are later batches of that size.

    Args:
        model: the model; it is put into evaluation mode.
        task: the task's name.
        data: the task's examples.
        batch_size: number of examples in a batch at most.
        token_budget: number of tokens in a batch at most; None for the budget of the device.
        vectors: return the inputs of the head instead of its outputs; the examples have one side.
        processes: the processes that share the batches; the batches are those of one process.
        graphs: computes the batches, small ones as CUDA graphs; None to compute all without graphs.
    """
    model.eval()
    device = model.device
    token_budget = token_budget or TOKEN_BUDGETS[device.type]
    both_orders = data.swapped is not None and not vectors
    if both_orders:
        data = _with_other_order(model, task, data)
    forward = Forward(model, task, both_orders, vectors)
    outputs, order = [], []
    batches = list(by_length(data, token_budget, batch_size))
    # A process without a batch computes the first one, for the shape of its outputs.
    pending = deque(batches[processes.rank :: processes.count] or batches[:1])
    lengths, most = data.lengths, token_budget  # `most`: tokens that fit in memory
    with torch.inference_mode():
        while pending:
            rows = pending.popleft()
            if len(rows) > 1 and lengths[rows].sum() > most:
                pending.extendleft(reversed(np.array_split(rows, 2)))
                continue
            try:
                own = {task: rows}
                outputs.append(graphs(forward, data, rows) if graphs else forward(pack({task: data}, own, device)))
            except (MemoryError, RuntimeError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
                if device.type == "cuda":
                    torch.cuda.empty_cache()  # cuBLAS and cuDNN do not get the memory that PyTorch keeps
                most = int(lengths[rows].sum()) // 2
                pending.appendleft(rows)
                continue
            order.append(rows)
        # Copied once at the end, so that batches do not wait for the GPU.
        places, values = torch.from_numpy(np.concatenate(order)), torch.cat(outputs).cpu()
        if processes.rank >= len(batches):
            places, values = places[:0], values[:0]
        return processes.gather_rows(values, places, len(data))


def _with_other_order(model: SentenceModel, task: str, data: TaskData) -> TaskData:
    """Return the examples with more sides: each sequence of both texts, with the texts swapped."""
    assert data.swapped is not None
    sides = zip(model.head(task).sides, data.swapped.sides, strict=True)
    return replace(data, sides=(*data.sides, *(tokens for side, tokens in sides if side == "whole")))
