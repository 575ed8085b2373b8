"""The section `search` of a plan, read and checked.

Must not import torch: fast start-up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from mbert_cli.errors import RecipeError
from mbert_cli.messages import shown
from mbert_cli.recipe.document import KeyPath
from mbert_cli.recipe.field_types import Duration, seconds_in
from mbert_cli.recipe.reader import Reader
from mbert_cli.recipe.section import Section
from mbert_cli.recipe.sections import Recipe, TrainingSection
from mbert_cli.recipe.validation_message import OTHER_NAMES
from mbert_cli.sweeps.ranges import Range, read_range

RANGES: KeyPath = ("search", "ranges")
"""Where the ranges are in a plan."""

_MOST_TRIALS = 1000  # of a search that only `max_time` limits


class SearchSection(Section):
    """A search for good settings.

    Args:
        recipe: name of a shipped recipe, or a file relative to the plan's folder.
        ranges: the range of each key that is searched; see `sweeps/ranges.py`.
        trials: number of trials.
        max_time: start no trial after the trials have trained for this time together (`90min`, `2h`).
        seed: seed of the sampler.
        pruning: `median` ends a trial whose score is below the median of earlier trials; `none` trains all epochs.
    """

    recipe: Annotated[str, Field(min_length=1, max_length=200)]
    ranges: Annotated[dict[str, Any], Field(min_length=1)]
    trials: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_time: Duration = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    pruning: Literal["median", "none"] = "median"


@dataclass(frozen=True)
class Search:
    """A search, resolved.

    Args:
        section: the section of the plan.
        ranges: the ranges, in the order of the plan.
        training_seed: seed of all trials; None for the seed of the recipe.
        recipe_of: returns the recipe for the values of the ranges, which are given by their keys.
    """

    section: SearchSection
    ranges: tuple[Range, ...]
    training_seed: int | None
    recipe_of: Callable[[Mapping[str, Any]], Recipe]

    @property
    def trials(self) -> int:
        """Maximum number of trials."""
        return self.section.trials or _MOST_TRIALS

    @property
    def max_seconds(self) -> float:
        """Training time of all trials after which no trial starts."""
        return float("inf") if self.section.max_time is None else float(seconds_in(self.section.max_time))

    def check(self, check_recipe: Callable[[Recipe], object] | None) -> None:
        """Check the recipes with the smallest and the largest value of each range, and with each choice.

        Args:
            check_recipe: raises an error for other problems of a recipe.

        Raises:
            RecipeError: all problems, each once.
        """
        first = {each.key: each.ends[0] for each in self.ranges}
        problems: list[str] = []
        for each in self.ranges:
            for value in each.ends:
                try:
                    recipe = self.recipe_of({**first, each.key: value})
                    if check_recipe is not None:
                        check_recipe(recipe)
                except RecipeError as error:
                    problems += error.problems
                    if each.kind != "choice":
                        break  # most problems are those of the key, and the largest value has them too
        if problems:
            raise RecipeError(*dict.fromkeys(problems))


def read_search(reader: Reader) -> tuple[SearchSection | None, tuple[Range, ...]]:
    """Read the section `search` and its ranges; problems are added to those of the reader."""
    section = reader.section(("search",), SearchSection)
    if section is not None and section.trials is None and section.max_time is None:
        reader.problem(("search",), "has no end; set trials, such as 30, or max_time, such as 90min.")
    written = reader.value(RANGES)
    ranges = []
    for key in written if isinstance(written, dict) else ():
        problem = _key_problem(str(key))
        if problem is not None:
            reader.problem((*RANGES, key), problem)
        elif (each := read_range(reader, (*RANGES, key), str(key))) is not None:
            ranges.append(each)
    return section, tuple(ranges)


def _key_problem(key: str) -> str | None:
    """Return what is wrong with a key that has a range; None if the recipe may have it."""
    if key == "training.seed":
        return "cannot be searched; set one seed in `seeds`."
    name = OTHER_NAMES.get(key, key)
    if name in TrainingSection.model_fields:
        return f"is not a key of a recipe; did you mean {shown(f'training.{name}')}?"
    return None
