"""The section `fold` of a task: which rows of the training file are the dev rows."""

from typing import Annotated

from pydantic import Field

from mbert_cli.recipe.section import Section


class FoldSection(Section):
    """One fold of a cross-validation. Its rows of the training file are the dev rows; the others are trained on.

    `mbert cv` writes this section; see `data/folds.py`.

    Args:
        number: number of the fold, from 1.
        of: number of folds.
        seed: seed of the division into folds.
        group: column of a group: rows with the same value are in the same fold.
        stratify: each fold has the same share of each class.
        limit: number of rows of the file that are divided, spread evenly over it; null for all.
    """

    number: Annotated[int, Field(ge=1, le=1000)]
    of: Annotated[int, Field(ge=2, le=1000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 11711
    group: str | None = None
    stratify: bool = False
    limit: Annotated[int, Field(ge=1)] | None = None

    def describe(self) -> str:
        """Return the section in words, for reports and model cards."""
        return f"dev rows are fold {self.number} of {self.of} of the training file"
