"""Heads that other libraries can compute: a linear layer on one sentence vector, and at most a sigmoid."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.errors import UsageError
from mbert_cli.heads.classification import Classification
from mbert_cli.heads.multi_label import MultiLabel
from mbert_cli.heads.regression import Regression
from mbert_cli.heads.unbounded_regression import UnboundedRegression
from mbert_cli.model.saved_model import SavedModel


@dataclass(frozen=True)
class LinearHead:
    """W u + b for a sentence vector u. With `limits`, the value is low + (high - low) sigmoid(W u + b).

    Args:
        weight: W, in float64.
        bias: b, in float64.
        problem_type: what transformers calls the problem; it selects the loss and the function of probabilities.
        labels: the name of each output.
        limits: low and high; None if the outputs are W u + b.
    """

    weight: Float[Tensor, "outputs hidden"]
    bias: Float[Tensor, " outputs"]
    problem_type: str
    labels: list[str]
    limits: tuple[float, float] | None = None


def linear_head(saved: SavedModel, task: str, remedy: str) -> LinearHead:
    """Return the head of a task as a linear layer. A fitted temperature divides W and b.

    Args:
        saved: a model that is not an ensemble.
        task: the task.
        remedy: what the error message recommends.

    Raises:
        UsageError: the head is not a linear layer on one vector.
    """
    head, section = saved.model.head(task), saved.task(task)
    if isinstance(head, Classification | MultiLabel):
        kind = "single_label" if isinstance(head, Classification) else "multi_label"
        temperature = head.decision.temperature
        weight, bias = _values(head.linear)
        return LinearHead(weight / temperature, bias / temperature, f"{kind}_classification", list(head.labels.names))
    names = section.label_columns
    if isinstance(head, Regression):
        return LinearHead(*_values(head.linear), "regression", names, (head.labels.low, head.labels.high))
    if isinstance(head, UnboundedRegression):
        weight, bias = _values(head.linear)
        mean, deviation = head.mean.double(), head.deviation.double()
        return LinearHead(deviation * weight, deviation * bias + mean, "regression", names)
    separately = "first" in head.sides
    reason = (
        "reads the two texts of a pair separately" if separately else "is not a linear layer on the sentence vector"
    )
    raise UsageError(f"task {task}: the head {section.head.kind} {reason}; {remedy}.")


def _values(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return linear.weight.detach().cpu().to(torch.float64), linear.bias.detach().cpu().to(torch.float64)
