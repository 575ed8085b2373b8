"""The plan of a sweep, read and checked: the rows of a table, each with a recipe, overrides and seeds; or a search.

Must not import torch: fast start-up.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mbert_cli.errors import RecipeError
from mbert_cli.messages import nearest
from mbert_cli.recipe.document import Document, KeyPath, Place, dotted
from mbert_cli.recipe.overrides import override
from mbert_cli.recipe.reader import ComponentCheck, Reader, validate
from mbert_cli.recipe.recipe_file import read_document, read_text
from mbert_cli.recipe.section import Section
from mbert_cli.recipe.sections import Recipe
from mbert_cli.recipe.shipped import PLANS, plan_names, shipped_folder, shipped_names
from mbert_cli.recipe.yaml_text import parse
from mbert_cli.sweeps.search_plan import RANGES, Search, read_search

Keep = Literal["all", "model", "metrics"]
"""The parts of a run that are kept when it is done: all; all but its states; or its recipe and metrics only."""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class RowSection(Section):
    """A row of the table.

    Args:
        name: name of the row, unique in its group.
        recipe: name of a shipped recipe, or a file relative to the plan's folder.
        group: heading above the row. Rows with the same group share it.
        settings: `key=value` overrides of the recipe, applied after those of the plan.
        seeds: seeds that replace those of the plan.
    """

    name: Text
    recipe: Text
    group: Annotated[str, Field(max_length=200)] = ""
    settings: list[str] = []
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None


class PlanSection(Section):
    """A plan.

    Args:
        title: title of the table.
        rows: the rows; a plan has these, or a search.
        search: the ranges of a search for good settings.
        seeds: seeds of the rows that have no own seeds; default: the seed of each recipe.
        settings: `key=value` overrides of the recipes of all rows.
        keep: the parts of a run that are kept when it is done.
    """

    title: Text | None = None
    rows: Annotated[list[Any], Field(min_length=1)] | None = None
    search: Any = None
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    settings: list[str] = []
    keep: Keep = "model"


@dataclass(frozen=True)
class PlannedRow:
    """A row of the table, resolved.

    Args:
        group: heading above the row.
        name: name of the row.
        recipe: the recipe with all overrides except the seed.
        seeds: the seeds of its runs.
        values: for a trial of a search, the values of its ranges, by their keys.
    """

    group: str
    name: str
    recipe: Recipe
    seeds: tuple[int, ...]
    values: Mapping[str, Any] = field(default_factory=dict)

    def recipe_of(self, seed: int) -> Recipe:
        """Return the recipe of the run with a seed."""
        training = self.recipe.training.model_copy(update={"seed": seed})
        return self.recipe.model_copy(update={"training": training})


@dataclass(frozen=True)
class Plan:
    """A plan, resolved.

    Args:
        title: title of the table.
        rows: the rows, in the order of the table; of a search, the trials that it has suggested so far.
        keep: the parts of a run that are kept when it is done.
        text: text of the plan file.
        search: the search; None if the plan lists its rows.
    """

    title: str
    rows: tuple[PlannedRow, ...]
    keep: Keep
    text: str
    search: Search | None = None


def is_plan(name: str) -> bool:
    """Return whether a file, or a shipped name, is that of a plan and not of a recipe."""
    if not os.path.isfile(name):
        return name in plan_names()
    with open(name, encoding="utf-8", errors="replace") as file:
        return any(re.match(r"(rows|search)\s*:", line) for line in file)


def find_plan(name: str) -> Path:
    """Return the file of a plan.

    Args:
        name: a path, or the name of a shipped plan such as ``paper_tables_minilm``.

    Raises:
        RecipeError: there is no such file and no such shipped plan.
    """
    if os.path.isfile(name):
        return Path(name)
    if name in plan_names():
        return shipped_folder() / PLANS / f"{name}.yaml"
    if os.path.isdir(name):
        raise RecipeError(f"{name}: is a folder; use the plan file in it.")
    raise RecipeError(f"{name}: there is no plan file and no shipped plan with this name{nearest(name, plan_names())}")


def read_plan(path: Path, check: ComponentCheck, check_recipe: Callable[[Recipe], object] | None = None) -> Plan:
    """Read a plan and the recipes of all its rows, and check them.

    Args:
        path: the plan file.
        check: returns the problems of a component's kind and options.
        check_recipe: raises an error for other problems of a recipe.

    Raises:
        RecipeError: the plan or, if the plan itself is right, a recipe of its rows has problems. All are listed, each
            with its place.
    """
    text = read_text(path, str(path))
    document = parse(text, str(path), path.resolve().parent, example="rows")
    reader = Reader(document, check)
    plan = reader.section((), PlanSection)
    if document.values.get("search") is not None:
        return _read_search_plan(reader, plan, path, text, check_recipe)
    if plan is not None and plan.rows is None:
        reader.problem(("rows",), "is missing.")
    written = document.values.get("rows")
    # All rows are checked, even if other parts of the plan have problems.
    rows = [
        reader.section(("rows", index), RowSection) for index in range(len(written) if isinstance(written, list) else 0)
    ]
    _check_names(reader, rows)
    if plan is not None:
        _check_seeds(reader, plan, rows)
    files = {
        index: _recipe_file(reader, ("rows", index), row.recipe) for index, row in enumerate(rows) if row is not None
    }
    if plan is None or reader.problems:
        raise RecipeError(*reader.problems)
    planned: list[PlannedRow] = []
    problems: dict[str, list[str]] = {}
    for index, row in enumerate(each for each in rows if each is not None):
        try:
            settings = (("settings",), plan.settings), (("rows", index, "settings"), row.settings)
            file = files[index]
            assert file is not None
            recipe = _resolved(document, settings, read_document(*file), check)
            if check_recipe is not None:
                check_recipe(recipe)
        except RecipeError as error:
            for problem in error.problems:
                problems.setdefault(problem, []).append(row.name)
            continue
        seeds = row.seeds or plan.seeds or [recipe.training.seed]
        planned.append(PlannedRow(row.group, row.name, recipe, tuple(seeds)))
    if problems:
        raise RecipeError(*_by_rows(problems, len(rows)))
    return Plan(plan.title or path.stem, tuple(planned), plan.keep, text)


def _read_search_plan(
    reader: Reader,
    plan: PlanSection | None,
    path: Path,
    text: str,
    check_recipe: Callable[[Recipe], object] | None,
) -> Plan:
    """Read and check a plan with a search; see `read_plan`."""
    document = reader.document
    section, ranges = read_search(reader)
    if document.values.get("rows") is not None:
        reader.problem(("rows",), "and search cannot be used together; write two plans.")
    if plan is not None and len(plan.seeds or ()) > 1:
        what = f"has {len(plan.seeds or ())} seeds, but a search trains each trial once"
        reader.problem(("seeds",), f"{what}; keep one seed, and train the best trial with others afterwards.")
    file = None if section is None else _recipe_file(reader, ("search",), section.recipe)
    if plan is None or section is None or file is None or reader.problems:
        raise RecipeError(*reader.problems)
    written = read_document(*file)
    common = [(("settings",), plan.settings)]

    def recipe_of(values: Mapping[str, Any]) -> Recipe:
        own = [((*RANGES, each.key), [each.setting(values[each.key])]) for each in ranges]
        return _resolved(document, [*common, *own], deepcopy(written), reader.check)

    search = Search(section, ranges, plan.seeds[0] if plan.seeds else None, recipe_of)
    search.check(check_recipe)
    return Plan(plan.title or path.stem, (), plan.keep, text, search)


def _by_rows(problems: Mapping[str, Sequence[str]], rows: int) -> list[str]:
    """Return each problem once. The names of its rows are added, unless all rows have it."""
    most = 5
    lines = []
    for problem, names in problems.items():
        more = f" and {len(names) - most} more" if len(names) > most else ""
        whose = f" (row{'s' if len(names) > 1 else ''} {', '.join(names[:most])}{more})"
        lines.append(problem if len(names) == rows else problem + whose)
    return lines


def _check_names(reader: Reader, rows: Sequence[RowSection | None]) -> None:
    first: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        if row is None:
            continue
        if (row.group, row.name) in first:
            other = f"rows[{first[row.group, row.name]}]"
            what = f"is '{row.name}', which is also the name of {other}; names must be unique in a group."
            reader.problem(("rows", index, "name"), what)
        first.setdefault((row.group, row.name), index)


def _check_seeds(reader: Reader, plan: PlanSection, rows: Sequence[RowSection | None]) -> None:
    """Check that no seed is listed twice, and that the seed is not set in two places."""
    paths: list[tuple[KeyPath, Sequence[int] | None]] = [(("seeds",), plan.seeds)]
    paths += [(("rows", index, "seeds"), row.seeds) for index, row in enumerate(rows) if row is not None]
    for path, seeds in paths:
        twice = [seed for seed in dict.fromkeys(seeds or ()) if (seeds or ()).count(seed) > 1]
        if twice:
            reader.problem(path, f"contains {twice[0]} more than once.")
    what = "sets training.seed, but `seeds` sets it too; keep only one."
    for index, setting in enumerate(plan.settings):
        if plan.seeds and setting.startswith("training.seed="):
            reader.problem(("settings", index), what)
    for row_index, row in enumerate(rows):
        for index, setting in enumerate(row.settings if row is not None else ()):
            if (plan.seeds or (row is not None and row.seeds)) and setting.startswith("training.seed="):
                reader.problem(("rows", row_index, "settings", index), what)


def _recipe_file(reader: Reader, path: KeyPath, name: str) -> tuple[Path, str] | None:
    """Return the file of a recipe that a section of the plan names, and its name in messages."""
    document = reader.document
    if os.path.isfile(document.folder / name):
        return document.folder / name, str(Path(document.source).parent / name)
    bare = name.removeprefix("recipes/").removesuffix(".yaml")
    if bare in shipped_names():
        shipped = shipped_folder() / f"{bare}.yaml"
        return shipped, str(shipped)
    hint = nearest(bare, shipped_names(), listed_by="mbert recipes ls")
    what = f"is '{name}', but there is no such file in {document.folder} and no such shipped recipe{hint}"
    reader.problem((*path, "recipe"), what)
    return None


def _resolved(
    document: Document,
    settings: Sequence[tuple[KeyPath, Sequence[str]]],
    recipe: Document,
    check: ComponentCheck,
) -> Recipe:
    """Return a recipe with overrides.

    Args:
        document: the plan.
        settings: the overrides, each list with its path in the plan.
        recipe: the recipe as its file has it; it is changed.
        check: returns the problems of a component's kind and options.
    """
    for path, words in settings:
        places = [_place(document, (*path, number) if path[-1] == "settings" else path) for number in range(len(words))]
        override(recipe, words, places)
    return validate(recipe, check)


def _place(document: Document, path: KeyPath) -> Place:
    place = document.place(path)
    return Place(f"{place}: {dotted(path)}", place.folder)
