"""Token dropout: words of training sentences that the model must do without."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from mbert_cli.batch import Batch
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.errors import RecipeError
from mbert_cli.randomness import derive

_MASK, _KEPT = "[MASK]", ("[CLS]", "[SEP]")


class TokenDropout:
    """Puts [MASK] in the place of a share of a batch's tokens, others at every step; [CLS] and [SEP] stay.

    A task with few examples is learnt by heart within a few passes. Sentences that are never twice the same slow that
    down, as dropout of features does. Source: Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods
    for Text Classification", word dropout; here [MASK], which the encoder knows from its pretraining, is put where they
    leave a gap.

    Args:
        shares: for each task the probability of a token to be replaced.
        tokenizer: the encoder's.
        seed: the run's.

    Raises:
        RecipeError: the tokenizer has no [MASK].
    """

    def __init__(self, shares: Mapping[str, float], tokenizer: Tokenizer, seed: int) -> None:
        self._shares = {task: share for task, share in shares.items() if share}
        self._seed = seed
        if self._shares:
            mask = tokenizer.token_id(_MASK)
            if mask is None:
                raise RecipeError(
                    f"tasks.{next(iter(self._shares))}.token_dropout: the encoder's tokenizer has no {_MASK}."
                )
            self._mask = mask
            self._kept = torch.tensor([id_ for each in _KEPT if (id_ := tokenizer.token_id(each)) is not None])

    def __call__(self, batch: Batch, step: int) -> Batch:
        """Return a batch with tokens replaced: a function of the seed and the step alone.

        Args:
            batch: of training.
            step: its number within the run.
        """
        if not any(task in self._shares for task in batch.tasks):
            return batch
        shares = torch.tensor([self._shares.get(task, 0.0) for task in batch.tasks])
        of_token = shares.repeat_interleave(torch.tensor(batch.layout.segment_tokens))
        drawn = torch.rand(len(of_token), generator=torch.Generator().manual_seed(derive(self._seed, "tokens", step)))
        ids = batch.token_ids
        replaced = (drawn < of_token).to(ids.device) & ~torch.isin(ids, self._kept.to(ids.device))
        return replace(batch, token_ids=ids.masked_fill(replaced, self._mask))
