"""The procedure of `mbert export --format onnx`: one ONNX graph for each task, for use without mbert and PyTorch.

TASK.onnx        computes probabilities or values from ids, mask and types of padded sentences
tokenizer.json   for the library tokenizers; with tokenizer_config.json, also for transformers
config.json      max_length, the number of tokens at which texts are cut; columns, inputs, labels and thresholds
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mbert_cli import __version__
from mbert_cli.encoder import kernels
from mbert_cli.encoder.late_interaction import padded_max_sim
from mbert_cli.encoder.padded_layout import PaddedLayout
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.errors import UsageError
from mbert_cli.heads import ClassHead
from mbert_cli.heads.multi_label import MultiLabel
from mbert_cli.heads.ordinal import Ordinal
from mbert_cli.model.ensemble import mean_outputs
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_model import SavedModel
from mbert_cli.model.sentence_model import SentenceModel

CONFIG = "config.json"
FORMAT = "mbert-onnx"
_MEDIAN = "the first label at which the cumulative sum of probability ** temperature reaches half of its total"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class PaddedTask(nn.Module):
    """One task of a model, for sentences that are padded to one width.

    Args:
        model: a model or an ensemble, in evaluation mode, on the CPU.
        task: name of the task.
    """

    def __init__(self, model: SentenceModel, task: str) -> None:
        super().__init__()
        self.model = model
        self.name = task

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the probabilities of the classes or of the labels, or the values.

        Args:
            inputs: ids, mask and types, each ``[examples, width]``, int64, for each side that the head reads.
        """
        model, head = self.model, self.model.head(self.name)
        outputs = mean_outputs([self._outputs(member, inputs) for member in model.members()])
        if isinstance(head, ClassHead | MultiLabel):
            return head.probabilities(outputs)
        return head.values(outputs)

    def _outputs(self, model: MultiTaskBert, inputs: Sequence[Tensor]) -> Tensor:
        with kernels.using("padded"):
            tokens = [self._tokens(model, *inputs[at : at + 3]) for at in range(0, len(inputs), 3)]
        masks = [mask.bool() for mask in inputs[1::3]]
        vectors = [self._vectors(model, h, mask) for h, mask in zip(tokens, masks, strict=True)]
        head = model.head(self.name)
        late = [padded_max_sim(*tokens[:2], *masks[:2])] if head.late_interaction else []
        outputs: Tensor = head(*vectors, *late)
        return outputs

    def _tokens(self, model: MultiTaskBert, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        encoder = model.encoder
        layout = PaddedLayout(mask.bool())
        sites = SegmentAdapters(layout, [model.task(self.name).adapter_list()], encoder.folded)
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        h = encoder.layers_over(ids.flatten(), types.flatten(), positions.flatten(), layout, sites)
        return sites.on_top(h).unflatten(0, ids.shape)

    def _vectors(self, model: MultiTaskBert, h: Tensor, mask: Tensor) -> Tensor:
        vectors = model.pooling.padded(h, mask)
        if not model.pooling.pooler:
            return vectors
        assert model.encoder.pooler is not None  # checked by `build_model`
        return torch.tanh(model.encoder.pooler(vectors))


def export_onnx(saved: SavedModel, tasks: Sequence[str], folder: Path) -> None:
    """Write tasks of a model as ONNX graphs.

    Args:
        saved: the model.
        tasks: names of the tasks.
        folder: an existing folder for the files.

    Raises:
        UsageError: onnx or onnxscript is not installed.
        CheckpointError: a part of the model has no padded form.
    """
    try:
        import onnx  # noqa: F401 -- the error of torch.onnx has many lines
        import onnxscript  # noqa: F401
    except ImportError:
        raise UsageError("--format onnx needs onnx and onnxscript; pip install 'mbert-cli[onnx]'.") from None
    descriptions = {}
    for task in tasks:
        file = f"{task}.onnx"
        _export(saved.model.folded(task), task, folder / file)
        descriptions[task] = {"file": file, **_description(saved, task)}
    config = {"format": FORMAT, "mbert": __version__, "max_length": saved.tokenizer.max_length, "tasks": descriptions}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    saved.tokenizer.save(folder, saved.model.shape.type_vocab_size > 1)


def input_names(sides: Sequence[str]) -> list[str]:
    """Return the names of a graph's inputs: those of BERT, with the side as a prefix if there are several sides."""
    if len(sides) == 1:
        return list(_INPUTS)
    return [f"{side}_{name}" for side in sides for name in _INPUTS]


def _export(model: SentenceModel, task: str, file: Path) -> None:
    model.compute_with(torch.float32, "padded")
    module = PaddedTask(model, task).eval()
    names = input_names(model.head(task).sides)
    # All sizes differ, so that the exporter does not merge two of them.
    example = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in names)
    rows = torch.export.Dim("examples", min=1, max=1 << 16)
    shapes = []
    for at in range(0, len(names), 3):
        width = torch.export.Dim(f"width{at // 3}", min=2, max=model.shape.max_positions)
        shapes += [{0: rows, 1: width}] * 3
    with _silence(), torch.no_grad():
        module(*example)  # raises the error of a part without a padded form; the exporter would wrap it
        torch.onnx.export(
            module,
            example,
            str(file),
            dynamo=True,
            external_data=False,
            input_names=names,
            output_names=["probabilities" if isinstance(model.head(task), ClassHead | MultiLabel) else "values"],
            dynamic_shapes=(tuple(shapes),),
            verbose=False,
        )


@contextmanager
def _silence() -> Iterator[None]:
    """Hide the messages of the exporter about its steps."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


def _description(saved: SavedModel, task: str) -> dict[str, Any]:
    """Return what a user of a task's graph must know."""
    head, section = saved.model.head(task), saved.task(task)
    description: dict[str, Any] = {"text": section.text, "sides": list(head.sides), "inputs": input_names(head.sides)}
    if section.symmetric:
        # A graph reads pairs in one order only; mbert predicts the mean over both orders.
        description["symmetric"] = True
    if task in saved.limits.windows:
        # The vectors of several windows cannot be combined within a graph; mbert reads the whole text.
        description["cut"] = f"texts are cut at {saved.tokenizer.max_length} tokens; mbert reads them in windows"
    if isinstance(head, ClassHead):
        description |= {"output": "probabilities", "labels": head.labels.names}
        if len(head.labels) == 2:
            description["threshold"] = head.decision.threshold
        if isinstance(head, Ordinal):
            description |= {"prediction": _MEDIAN, "temperature": head.decision.temperature}
    elif isinstance(head, MultiLabel):
        thresholds = {name: head.decision.threshold(name) for name in head.labels.names}
        description |= {"output": "probabilities", "labels": head.labels.names, "thresholds": thresholds}
    else:
        description["output"] = "values"
    return description
