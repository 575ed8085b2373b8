"""The sections of a recipe that describe a run and do not change its result."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from mbert_cli.recipe.section import Section


class ReferenceSection(Section):
    """Published scores that a run is compared with, such as a paper's; they do not change the result.

    Args:
        source: the publication, e.g. `Multi-BERT paper, Table 5, PAL`.
        scores: value of the main metric of each task; tasks may be left out.
    """

    source: Annotated[str, Field(min_length=1)]
    scores: Annotated[Mapping[str, Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]], Field(min_length=1)]


class CardSection(Section):
    """Entries of the model card that only you can know; they do not change the result.

    Args:
        title: title of the card.
        license: license of the model, with the identifier that the Hub uses, e.g. `mit`; the terms of the encoder and
            of the data may apply as well.
        language: language of the texts, e.g. `en`.
        description: intended uses and limits of the model, as Markdown.
        datasets: names on the Hub of the training data; data sets that a task names with `hub:` are added.
    """

    title: str | None = None
    license: str | None = None
    language: str | None = None
    description: str | None = None
    datasets: list[str] = []
