"""Small batches of a prediction as CUDA graphs: the CPU launches one graph instead of up to a hundred operations."""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch, as_tensors
from mbert_cli.data.batching import TaskData, pack
from mbert_cli.data.device_batch import arrays_of, with_tensors
from mbert_cli.machine.cuda_graph import CaptureError, CudaGraphs, GraphInputs, why_not_on
from mbert_cli.model.capture import why_not_captured
from mbert_cli.model.static_shapes import rounded_up, with_dummy_examples
from mbert_cli.prediction.forward import Forward

_MOST_TOKENS = 4096
"""The most tokens of a small batch, with dummies. This is an estimate: BERT-base computes 4,096 tokens in 2 ms on an
H100 (0.7 TFLOP at 40 % of the peak), and the CPU launches the hundred operations in 1 to 2 ms. The CPU launches the
next batch during the computation, so a graph saves no time for larger batches."""
_MOST_GRAPHS = 64  # small batches of other shapes run without a graph
_MOST_SHAPES = 4096  # shapes that are remembered
_log = logging.getLogger(__name__)


@dataclass
class _Shape:
    """What batches of the same shape share.

    Args:
        inputs: the arrays that the graph reads.
        replay: runs the graph; None before the second batch of the shape.
        output: the memory that the graph writes its result to.
    """

    inputs: GraphInputs
    replay: Callable[[], None] | None = None
    output: Tensor | None = None


class ForwardGraphs:
    """Computes batches of predictions; captures a small one as a CUDA graph if its shape occurs again.

    Dummy examples round the number of examples up to a power of two, and dummy texts round the number of tokens up to a
    multiple of 256. So few different shapes occur. The first batch of a shape runs without a graph, as the warm-up. The
    second one is captured and replayed; later ones are replayed. Results have the same bits with and without a graph:
    they do not depend on the batches before.

    All graphs share one pool of memory. A result is copied before another graph can overwrite it. Several threads may
    call this object.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs = CudaGraphs(device)
        self._problems: dict[Hashable, str | None] = {}
        self._weights: dict[Forward, list[Tensor]] = {}
        self._versions: dict[Forward, list[tuple[int, int]]] = {}  # of the weights that the graphs read
        self._shapes: dict[Hashable, _Shape] = {}
        self._captured = 0  # number of graphs
        self._runs = True
        self.problem: str | None = None  # why a capture failed; then all later batches run without graphs

    def __call__(self, forward: Forward, data: TaskData, rows: np.ndarray) -> Tensor:
        """Return the result of a batch; only small batches can have graphs.

        Other batches take turns with them: all batches share the copies of weights in bf16, and a warm-up on the side
        stream may be writing them.

        Args:
            forward: the forward pass.
            data: the task's examples.
            rows: the examples of the batch.
        """
        batch = None if self._why_not(forward) else _small_batch(forward.task, data, rows)
        if batch is None:
            other = pack({forward.task: data}, {forward.task: rows}, forward.model.device)
            with self._graphs.turn():
                return forward(other)
        with self._graphs.turn():
            return self._compute(forward, batch)[: len(rows)].clone()

    def run_without_graphs(self) -> None:
        """Compute all later batches without graphs. The results have the same bits."""
        self._runs = False

    def _compute(self, forward: Forward, batch: Batch) -> Tensor:
        self._forget_graphs_of_old_weights(forward)
        arrays = arrays_of(batch)
        key = forward, forward.settings(), batch.layout.num_sentences, batch.layout.num_tokens
        shape = self._shapes.get(key)
        if shape is None or not self._runs or (shape.replay is None and self._captured == _MOST_GRAPHS):
            return self._eager(forward, batch, arrays, key)
        shape.inputs.fill(arrays)
        if shape.replay is None and not self._capture(forward, batch, arrays, shape):
            return self._eager(forward, batch, arrays, key)
        assert shape.replay is not None
        assert shape.output is not None
        shape.replay()
        return shape.output

    def _eager(self, forward: Forward, batch: Batch, arrays: Sequence[np.ndarray], key: Hashable) -> Tensor:
        """Compute a batch without a graph. It is the warm-up for a graph of the same shape."""
        on_device = with_tensors(batch, as_tensors(arrays, self._device), self._device)
        outputs: list[Tensor] = []

        def compute() -> None:
            outputs.append(forward(on_device))

        if not self._runs or key in self._shapes or len(self._shapes) == _MOST_SHAPES:
            compute()
        else:
            self._graphs.warm_up(compute)
            self._shapes[key] = _Shape(GraphInputs(self._device))
        return outputs[0]

    def _capture(self, forward: Forward, batch: Batch, arrays: Sequence[np.ndarray], shape: _Shape) -> bool:
        """Capture the graph of a shape; return whether that was possible."""
        on_device = with_tensors(batch, shape.inputs.tensors(arrays), self._device)

        def compute() -> None:
            shape.output = forward(on_device)

        try:
            shape.replay = self._graphs.capture(compute)
        except CaptureError as error:  # the batch runs without a graph instead
            self.problem, self._runs = str(error), False
            _log.debug("prediction continues without CUDA graphs: a batch cannot be captured: %s", error)
            self._forget()
            return False
        self._captured += 1
        return True

    def _why_not(self, forward: Forward) -> str | None:
        """Return the reason why the batches of a forward pass cannot be captured; None if they can."""
        key = forward, forward.settings(), forward.model.device
        if key not in self._problems:
            problem = self._problems[key] = _problem_of(forward, self._device)
            if problem is not None:
                _log.debug("predicting task %s without CUDA graphs: %s", forward.task, problem)
        return self._problems[key]

    def _forget_graphs_of_old_weights(self, forward: Forward) -> None:
        """Drop all graphs if the weights that they read have changed or moved since then."""
        if forward not in self._weights:
            self._weights[forward] = forward.weights()
        versions = [(0 if each.is_inference() else each._version, each.data_ptr()) for each in self._weights[forward]]
        if self._versions.setdefault(forward, versions) != versions:
            self._forget()
            self._versions[forward] = versions

    def _forget(self) -> None:
        """Drop all graphs, and free their memory."""
        self._shapes.clear()
        self._versions.clear()
        self._captured = 0


def graphs_for(device: torch.device, kernels: str) -> ForwardGraphs | None:
    """Return the CUDA graphs of a prediction on a GPU with some kernels; None if it cannot use any."""
    problem = why_not_on(device, kernels)
    if problem is not None and device.type == "cuda":
        _log.debug("predicting without CUDA graphs: %s", problem)
    return ForwardGraphs(device) if problem is None else None


def _problem_of(forward: Forward, device: torch.device) -> str | None:
    if forward.model.device != device:
        return f"the model has been moved to {forward.model.device}"
    problems = (
        why_not_on(device, each.kernels) or why_not_captured(each, [forward.task]) for each in forward.model.members()
    )
    return next((problem for problem in problems if problem is not None), None)


def _small_batch(task: str, data: TaskData, rows: np.ndarray) -> Batch | None:
    """Return a small batch of a static shape, on the CPU; None if it is not small, or if a text has several windows."""
    if data.features is not None or any(side.windows is not None for side in data.sides):
        return None
    examples = 1 << (len(rows) - 1).bit_length()
    if rounded_up(data.count_tokens(rows) + len(data.sides) * (examples - len(rows))) > _MOST_TOKENS:
        return None
    unlabelled = replace(data, labels=None, soft=None)
    return with_dummy_examples(pack({task: unlabelled}, {task: rows}), len(data.sides), examples)
