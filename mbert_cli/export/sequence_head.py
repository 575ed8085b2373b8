"""Write a linear head as the head of a family's class for sequence classification in transformers.

That head is W_2 act(W_1 x + b_1) + b_2, where W_1 is square and x the hidden state of the first token. For a linear
head W x + b without the pooler, W_1 and W_2 are chosen so that act makes no difference:

    relu, gelu   act(y) - act(-y) = y, exactly: W_1 has the rows W and -W, W_2 is [1, -1]
    tanh         tanh(s y) / s = y up to rounding for a tiny s: W_1 is s W, W_2 is 1 / s
    linear       W_1 is W, W_2 is 1

A LayerNorm after act (ModernBERT) subtracts the mean and divides by the standard deviation. Two rows of W_1 are
constants c and -c that are much larger than the outputs, so the deviation is c sqrt(2 / hidden) up to rounding. Another
row is zero; after the LayerNorm it is the mean, which W_2 adds back.

The value low + (high - low) sigmoid(y) of a regression is the tanh of half of y: sigmoid(y) = (1 + tanh(y / 2)) / 2.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mbert_cli.encoder.families import Classifier
from mbert_cli.export.linear_head import LinearHead
from mbert_cli.export.not_expressible import NotExpressibleError

_TINY = 2.0**-20  # s; tanh(s y) / s differs from y by y^3 s^2 / 3, which is below rounding for y up to 1000
_LARGE = 2.0**20  # c


@dataclass(frozen=True)
class SequenceHead:
    """The values of the head of a class for sequence classification.

    Args:
        first: W_1 and b_1.
        second: W_2 and b_2.
        activation: act.
        norm_scale: the weight of the LayerNorm after act, the same for all features; None if there is none.
    """

    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    activation: str
    norm_scale: float | None = None

    def tensors(self, classifier: Classifier, norm_bias: bool) -> dict[str, Tensor]:
        """Return the values by their names in a checkpoint, in fp32.

        Args:
            classifier: the names.
            norm_bias: whether LayerNorms of the encoder have biases.
        """
        named: dict[str, Tensor] = {}
        for name, (weight, bias) in ((classifier.first, self.first), (classifier.second, self.second)):
            named |= {f"{name}.weight": weight, f"{name}.bias": bias}
        if classifier.norm is not None and self.norm_scale is not None:
            hidden = len(self.first[1])
            named[f"{classifier.norm}.weight"] = torch.full((hidden,), self.norm_scale)
            if norm_bias:
                named[f"{classifier.norm}.bias"] = torch.zeros(hidden)
        return {name: value.float().contiguous() for name, value in named.items()}


def with_pooler(head: LinearHead, classifier: Classifier, pooler: torch.nn.Linear) -> SequenceHead:
    """Return a head behind a pooler tanh(W_1 x + b_1).

    Raises:
        NotExpressibleError: the head has a sigmoid, or the class has no tanh.
    """
    if classifier.activation != "tanh":
        raise NotExpressibleError("has no tanh, which the pooler needs")
    if head.limits is not None:
        raise NotExpressibleError("has no sigmoid after the pooler, which the regression needs")
    first = pooler.weight.detach().cpu().double(), pooler.bias.detach().cpu().double()
    return SequenceHead(first, (head.weight, head.bias), "tanh")


def without_pooler(head: LinearHead, classifier: Classifier) -> SequenceHead:
    """Return a head on the hidden state itself.

    Raises:
        NotExpressibleError: the head has a sigmoid, but the class has no tanh; or the head has too many outputs.
    """
    if head.limits is None:
        return _linear(head, "linear" if classifier.activation_key else classifier.activation, classifier)
    if classifier.norm is not None or (classifier.activation_key is None and classifier.activation != "tanh"):
        raise NotExpressibleError("has no sigmoid or tanh, which the regression needs")
    low, high = head.limits
    middle = torch.full_like(head.bias, (low + high) / 2)
    selected = torch.eye(len(head.bias), head.weight.shape[1], dtype=torch.float64)
    return SequenceHead(_square(head.weight / 2, head.bias / 2), (selected * (high - low) / 2, middle), "tanh")


def _linear(head: LinearHead, activation: str, classifier: Classifier) -> SequenceHead:
    outputs, hidden = head.weight.shape
    scale = _TINY if activation == "tanh" else 1.0
    weight, bias = scale * head.weight, scale * head.bias
    if activation in ("relu", "gelu"):
        weight, bias = torch.cat([weight, -weight]), torch.cat([bias, -bias])
    added = 0 if classifier.norm is None else 3
    if len(bias) + added > hidden:
        raise NotExpressibleError(f"has no room for {outputs} outputs with {hidden} features")
    first = _square(weight, bias)
    second = torch.zeros(outputs, hidden, dtype=torch.float64)
    second[:, :outputs] = torch.eye(outputs) / scale
    if activation in ("relu", "gelu"):
        second[:, outputs : 2 * outputs] = -torch.eye(outputs)
    norm_scale = None
    if classifier.norm is not None:
        large, opposite, zero = range(len(bias), len(bias) + 3)
        first[1][large], first[1][opposite] = _LARGE, -_LARGE
        second[:, zero] = -1
        norm_scale = _LARGE * math.sqrt(2 / hidden)
    return SequenceHead(first, (second, torch.zeros(outputs, dtype=torch.float64)), activation, norm_scale)


def _square(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix with as many rows as columns, and its bias, by appending zeros."""
    missing = weight.shape[1] - len(bias)
    return torch.cat([weight, weight.new_zeros(missing, weight.shape[1])]), torch.cat([bias, bias.new_zeros(missing)])
