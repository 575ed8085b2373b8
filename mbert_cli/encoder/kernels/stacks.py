"""Stacks the weights of one linear layer of each task, so that one operation multiplies all of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.encoder.kernels.product import Copy, Linear, renew


class Stack:
    """The parameters of linear layers of the same size, copied in another data type into two tensors.

    Each layer has its own copies of its parameters: see `Linear`. They become views of these two tensors. So an update
    of the layers' copies also updates the stack.

    Args:
        layers: the layers; distinct.
        dtype: the data type of the copies.
        multiple: zeros pad the numbers of features to multiples of this number.

    Attributes:
        weight: the weights.
        bias: the biases.
    """

    weight: Float[Tensor, "layers out in"]
    bias: Float[Tensor, "layers out"]

    def __init__(self, layers: Sequence[Linear], dtype: torch.dtype, multiple: int) -> None:
        self.layers = tuple(layers)
        rows, columns = layers[0].weight.shape
        size = rows + -rows % multiple, columns + -columns % multiple
        # Not as inference tensors, because a later training step could not use those.
        with torch.inference_mode(False), torch.no_grad():
            self.weight = layers[0].weight.new_zeros(len(layers), *size, dtype=dtype)
            self.bias = self.weight.new_zeros(len(layers), size[0])
            self._copies = [
                {"weight": Copy(weight[:rows, :columns]), "bias": Copy(bias[:rows])}
                for weight, bias in zip(self.weight, self.bias, strict=True)
            ]

    def renew(self) -> None:
        """Make the copies of the layers views of this stack, and update those that are outdated."""
        for layer, copies in zip(self.layers, self._copies, strict=True):
            layer.use(copies)
        outdated = [pair for layer in self.layers for pair in layer.outdated(self.weight.dtype)]
        if outdated:
            renew(outdated)


def stack_of(layers: Sequence[Linear], dtype: torch.dtype, multiple: int) -> Stack:
    """Return the up-to-date stack of layers, the same one in every step.

    A CUDA graph reads and writes the memory of a stack, so the first layer keeps all of its stacks: one for every
    combination of tasks that occurs.
    """
    stacks, key = layers[0].stacks, tuple(layers)
    stack = stacks.get(key)
    if stack is None or stack.weight.dtype != dtype or stack.weight.device != layers[0].weight.device:
        stack = stacks[key] = Stack(layers, dtype, multiple)
    stack.renew()
    return stack
