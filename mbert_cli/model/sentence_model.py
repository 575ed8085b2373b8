"""The interface of models that predict: one model, or an ensemble."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mbert_cli.batch import Batch
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.heads import Head

if TYPE_CHECKING:
    from mbert_cli.model.multi_task_bert import MultiTaskBert


class SentenceModel(nn.Module, ABC):
    """A model for one or more tasks on sentences: a `MultiTaskBert`, or an `Ensemble` of them."""

    task_names: tuple[str, ...]
    """The names of the tasks."""

    @abstractmethod
    def members(self) -> list["MultiTaskBert"]:
        """Return the models whose outputs are averaged, in order; a single model is its only member."""

    @abstractmethod
    def folded(self, name: str) -> "SentenceModel":
        """Return a model for the prediction of one task, with its adapters folded into the encoder where possible."""

    @abstractmethod
    def forward(self, batch: Batch, both_orders: bool = False) -> dict[str, Tensor]:
        """Return the outputs of each task's head for the batch's examples.

        Args:
            batch: the examples.
            both_orders: return the mean over both orders of the two texts. If the head reads both texts in one
                sequence, a segment then ends with these sequences in the other order. Sequences of a single text serve
                both orders.
        """

    @abstractmethod
    def compute_with(self, dtype: torch.dtype, kernels: str) -> None:
        """Set the data type and the kernels of the encoders and the adapters; see `hardware`."""

    def head(self, name: str) -> Head:
        """Return the head of a task. It has the values that are fitted on dev for all members: temperature and cut."""
        return self.members()[0].task(name).head

    @property
    def shape(self) -> EncoderShape:
        """The sizes of the encoders."""
        return self.members()[0].encoder.shape

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.members()[0].encoder.word_embeddings.weight.device
