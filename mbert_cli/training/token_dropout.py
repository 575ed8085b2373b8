"""Token dropout: replace random tokens of training sentences by [MASK]."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from mbert_cli.batch import Batch, as_tensor
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.errors import RecipeError
from mbert_cli.randomness import uniform


class TokenDropout:
    """Replaces a random share of a batch's tokens by [MASK], different tokens in each step; keeps [CLS] and [SEP].

    A model memorises the training set of a small task within a few passes. Sentences that change in every pass slow
    this down, like dropout of features. Source: Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods
    for Text Classification", word dropout. They remove the words; here [MASK] replaces them, because the encoder knows
    it from pretraining.

    Args:
        shares: for each task, the probability of replacing a token.
        tokenizer: the encoder's tokenizer.
        seed: the run's seed.

    Raises:
        RecipeError: the tokenizer has no mask token.
    """

    def __init__(self, shares: Mapping[str, float], tokenizer: Tokenizer, seed: int) -> None:
        self._shares = {task: share for task, share in shares.items() if share}
        self._seed = seed
        if self._shares:
            if tokenizer.mask_id is None:
                raise RecipeError(
                    f"tasks.{next(iter(self._shares))}.token_dropout: the encoder's tokenizer has no mask token; "
                    "remove this key."
                )
            self._mask = tokenizer.mask_id
            self._kept = torch.tensor(tokenizer.frame_ids)

    def __call__(self, batch: Batch, step: int) -> Batch:
        """Return a batch with some tokens replaced; the choice depends only on the seed and the step.

        Args:
            batch: a training batch.
            step: number of the batch in the run.
        """
        if not any(task in self._shares for task in batch.tasks):
            return batch
        ids, layout = batch.token_ids, batch.layout
        of_token = np.repeat([self._shares.get(task, 0.0) for task in batch.tasks], layout.segment_tokens)
        drawn = uniform(layout.host_rows, self._seed, "tokens", step) < of_token
        if self._kept.device != ids.device:
            self._kept = self._kept.to(ids.device)
        replaced = as_tensor(drawn, ids.device) & ~torch.isin(ids, self._kept)
        return replace(batch, token_ids=ids.masked_fill(replaced, self._mask))
