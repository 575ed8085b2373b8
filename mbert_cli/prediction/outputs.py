"""The outputs of a saved model's tasks, and the vectors of texts."""

from torch import Tensor

from mbert_cli.data.batching import TaskData
from mbert_cli.encoder.quantisation import quantise
from mbert_cli.machine.hardware import Hardware
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.prediction.forward_graphs import graphs_for
from mbert_cli.prediction.run_model import run_model


class Outputs:
    """Computes the outputs of a model's tasks; on a GPU, with CUDA graphs for small batches.

    Args:
        model: the model, on the device of the hardware.
        hardware: the hardware.
        fold: fold adapters into copies of the encoder, one per task, where possible; see `encoder.folding`.

    Attributes:
        graphs: the CUDA graphs; None if they are not used.
    """

    def __init__(self, model: SentenceModel, hardware: Hardware, fold: bool) -> None:
        self._model = model
        self._int8 = hardware.int8
        self._fold = fold
        self._folded: dict[str, SentenceModel] = {}
        self.graphs = graphs_for(model.device, hardware.kernels)

    def __call__(self, task: str, data: TaskData, batch_size: int | None, vectors: bool = False) -> Tensor:
        """Return the outputs of a task's head, or its inputs if `vectors`; see `run_model`."""
        return run_model(self.model_of(task), task, data, batch_size, vectors=vectors, graphs=self.graphs)

    def model_of(self, task: str) -> SentenceModel:
        """Return the model that predicts a task."""
        if not self._fold:
            return self._model
        # Folded at first use: the last digits may depend on the number of threads, which is chosen after loading.
        if task not in self._folded:
            self._folded[task] = _folded(self._model, task, self._int8)
        return self._folded[task]


def _folded(model: SentenceModel, task: str, int8: bool) -> SentenceModel:
    """Return the model for one task, with its adapters folded into the encoder; then quantise the encoder."""
    folded = model.folded(task)
    for member in folded.members() if int8 else ():
        quantise(member.encoder)
    return folded
