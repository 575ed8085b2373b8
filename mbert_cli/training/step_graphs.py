"""Training steps as CUDA graphs: the CPU launches one graph instead of more than a hundred operations."""

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.batch import Batch, as_tensor, packed, unpacked
from mbert_cli.data.device_batch import arrays_of, with_tensors
from mbert_cli.encoder.dropout import site_keys
from mbert_cli.encoder.kernels.product import Copies, Copy, Linear, mark_renewed
from mbert_cli.machine.cuda_graph import CaptureError, CudaGraphs, GraphInputs
from mbert_cli.training.portion import Portion
from mbert_cli.training.step_results import StepResults
from mbert_cli.training.step_update import StepUpdate

_MOST_GRAPHS = 64  # steps of other shapes run without a graph
_MOST_SHAPES = 4096  # shapes that are remembered
_log = logging.getLogger(__name__)


@dataclass
class _Shape:
    """What steps of the same shape share.

    Args:
        sites: number of dropout sites.
        used: the copies of weights that the graph reads. Steps of other tasks may use copies in other stacks.
        inputs: the arrays that the graph reads.
        replay: runs the graph; None before the second step of the shape.
        values: the losses and the norm that the graph computes.
        updated: the parameters that the graph updates.
        copies: the copies of weights in bf16 that the graph updates after the parameters.
    """

    sites: int
    used: list[tuple[Linear, Mapping[str, Copy]]]
    inputs: GraphInputs
    replay: Callable[[], None] | None = None
    values: Tensor | None = None
    updated: list[Tensor] = field(default_factory=list)
    copies: Copies = field(default_factory=list)


class StepGraphs:
    """Runs the updates of steps; captures an update as a CUDA graph if its shape occurs again.

    Steps have the same shape if their tasks, the parameters that train, and the shapes of all arrays are the same. The
    first step of a shape runs without a graph, as the warm-up. The second step is captured and replayed; later steps
    are replayed. Each is one step of training, and its results have the same bits as without a graph.

    A graph reads what differs between steps from one buffer on the GPU: the batch, the dropout keys and the learning
    rates.

    Args:
        update: the update of a step.
        results: the results of steps.
        device: the GPU.
        seed: the run's seed.
    """

    def __init__(self, update: StepUpdate, results: StepResults, device: torch.device, seed: int) -> None:
        self._update = update
        self._results = results
        self._device = device
        self._seed = seed
        self._graphs = CudaGraphs(device)
        self._shapes: dict[Hashable, _Shape] = {}
        self._captured = 0  # number of graphs
        self.problem: str | None = None  # why a capture failed; then all later steps run without graphs

    def __call__(self, batch: Batch, step: int, rates: Float[np.ndarray, " groups"]) -> None:
        """Compute a step, and set `values` of the results.

        Args:
            batch: the batch on the CPU.
            step: number of the batch in the run.
            rates: the learning rate of each parameter group.
        """
        rest = arrays_of(batch)
        key = self._key(batch, rest)
        shape = self._shapes.get(key)
        if shape is None or self.problem is not None or (shape.replay is None and self._captured == _MOST_GRAPHS):
            self._eager(batch, step, [rates, *rest], key)
            return
        arrays = [rates, site_keys(self._seed, step, shape.sites), *rest]
        shape.inputs.fill(arrays)
        # A step without a graph, or the graph of other tasks, may have left copies outdated.
        for linear, copies in shape.used:
            linear.use(copies)
        self._update.model.renew_copies(batch.tasks)
        if shape.replay is None and not self._capture(shape, arrays, batch, step):
            self._eager(batch, step, [rates, *rest], key)
            return
        assert shape.replay is not None
        assert shape.values is not None
        shape.replay()
        # A copy is outdated if the version of its parameter has changed. A graph does not increment versions.
        torch.autograd.graph.increment_version(shape.updated)
        mark_renewed(shape.copies)
        self._results.values = shape.values

    def _key(self, batch: Batch, arrays: Sequence[np.ndarray]) -> Hashable:
        trained = tuple(parameter.requires_grad for parameter in self._update.model.parameters())
        sizes = tuple((array.shape, array.dtype.str) for array in arrays)
        return batch.tasks, tuple(batch.soft), trained, tuple(batch.layout.segment_sentences), sizes

    def _eager(self, batch: Batch, step: int, arrays: Sequence[np.ndarray], key: Hashable) -> None:
        """Compute a step without a graph. It is the warm-up for a graph of the same shape."""
        rates, *rest = unpacked(as_tensor(packed(arrays), self._device), arrays)

        def compute() -> None:
            self._compute(batch, rates, None, rest, step)

        if self.problem is not None or key in self._shapes or len(self._shapes) == _MOST_SHAPES:
            compute()
        else:
            self._graphs.warm_up(compute)
            used = [(linear, linear.copies) for linear in self._update.model.linears_of(batch.tasks)]
            self._shapes[key] = _Shape(self._update.losses.sites, used, GraphInputs(self._device))

    def _capture(self, shape: _Shape, arrays: list[np.ndarray], batch: Batch, step: int) -> bool:
        """Capture the graph of a shape; return whether that was possible."""
        rates, keys, *rest = shape.inputs.tensors(arrays)

        def compute() -> None:
            self._compute(batch, rates, keys, rest, step)
            shape.copies = self._update.model.renew_copies(batch.tasks)

        try:
            replay = self._graphs.capture(compute)
        except CaptureError as error:  # the step runs without a graph instead
            self.problem = str(error)
            _log.warning("training continues without CUDA graphs: a step cannot be captured: %s", error)
            self._update.optimizer.zero_grad(set_to_none=True)
            self._shapes.clear()  # frees the memory of the graphs
            return False
        self._captured += 1
        shape.replay, shape.values = replay, self._results.values
        shape.updated = list(self._update.optimizer.updated)
        return True

    def _compute(self, batch: Batch, rates: Tensor, keys: Tensor | None, rest: list[Tensor], step: int) -> None:
        on_device = with_tensors(batch, rest, self._device)
        self._update.optimizer.group_rates = rates
        self._update([Portion(on_device, on_device)], step, keys)
