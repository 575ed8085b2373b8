"""A model together with what trains it."""

from dataclasses import dataclass

from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.model.multi_task_bert import MultiTaskBert


@dataclass(frozen=True)
class Learner:
    """A model with everything that trains it.

    Args:
        model: the model.
        tokenizer: the tokenizer of its encoder.
        optimizer: the optimizer of its parameters.
        balancing: the loss balancing. Its values change in training, too.
    """

    model: MultiTaskBert
    tokenizer: Tokenizer
    optimizer: RowwiseAdamW
    balancing: LossBalancing
