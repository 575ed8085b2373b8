"""One procedure: count."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from mbert_cli.compose import encoder_shape, meta_model
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.recipe import ModelSection


@dataclass(frozen=True)
class Count:
    """Parameters of one part.

    Args:
        part: `encoder`, `pooling`, an adapter's kind, or `head`.
        task: the task it belongs to; None for what all share.
        formula: the paper's formula for one task, if it has one.
        by_formula: its value: weights only.
        exact: all parameters, biases and LayerNorms included.
    """

    part: str
    task: str | None
    formula: str
    by_formula: int | None
    exact: int


@dataclass(frozen=True)
class Counts:
    """Parameters of a model.

    Args:
        shape: the encoder's sizes.
        parts: one entry a part and task.
    """

    shape: EncoderShape
    parts: list[Count]

    def exact(self, part: str | None = None) -> int:
        """Return the exact count of a part over all tasks, or of the whole model."""
        return sum(count.exact for count in self.parts if part in (None, count.part))

    @property
    def adapters(self) -> list[Count]:
        """The adapters' entries."""
        return [count for count in self.parts if count.by_formula is not None]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        adapters = {
            "by_formula": sum(c.by_formula or 0 for c in self.adapters),
            "exact": sum(c.exact for c in self.adapters),
        }
        own = sum(count.exact for count in self.parts if count.task is not None)
        return {
            "encoder": asdict(self.shape),
            "parts": [asdict(count) for count in self.parts],
            "adapters": {**adapters, "times_encoder": 1 + adapters["exact"] / self.exact("encoder")},
            "total": self.exact(),
            "trainable": {"everything": self.exact(), "own": own, "own_share": own / self.exact()},
        }


def count(section: ModelSection) -> Counts:
    """Count the parameters of a model from its recipe: no weights, no network.

    Raises:
        CheckpointError: the encoder's sizes are not known; give them in the recipe's `encoder.shape`.
    """
    shape = encoder_shape(section.encoder, download=False)
    model = meta_model(section, shape)
    parts = [Count("encoder", None, "", None, _size(model.encoder))]
    if _size(model.pooling):
        parts.append(Count("pooling", None, "", None, _size(model.pooling)))
    for name in model.task_names:
        task = model.task(name)
        for component, adapter in zip(section.adapters, task.adapter_list(), strict=True):
            parts.append(Count(component.kind, name, adapter.formula, adapter.num_weights(), _size(adapter)))
        parts.append(Count("head", name, "", None, _size(task.head)))
    return Counts(shape, parts)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
