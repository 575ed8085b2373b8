"""The recipes and plans that come with mbert: their folder, names and descriptions."""

import os
from pathlib import Path

from mbert_cli.errors import RecipeError
from mbert_cli.messages import nearest

PLANS = "plans"
"""The subfolder of the shipped recipes that contains plans of sweeps."""


def shipped_folder() -> Path:
    """Return the folder of the recipes that come with mbert."""
    inside = Path(__file__).parents[1] / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "recipes"


def find(name: str) -> Path:
    """Return the file of a recipe, given its path or a shipped recipe's name, such as ``demo`` or ``paper/table5_pal``.

    Raises:
        RecipeError: there is no such file and no such shipped recipe.
    """
    path = Path(name)
    if os.path.exists(path) and not os.path.isdir(path):
        return path
    bare = name.removeprefix("recipes/").removesuffix(".yaml")
    shipped = shipped_names()
    if bare in shipped:  # even if there is a folder of that name, such as the run folder of `mbert train -o demo`
        return shipped_folder() / f"{bare}.yaml"
    if os.path.exists(path):
        return path
    hint = nearest(bare, shipped, listed_by="mbert recipes ls")
    raise RecipeError(f"{name}: there is no such recipe file, nor a shipped recipe of that name{hint}")


def default_folder(recipe: str) -> Path:
    """Return the default run folder of a recipe, given its path or its name."""
    return Path("runs") / (recipe if recipe in shipped_names() else Path(recipe).stem)


def shipped_names() -> list[str]:
    """Return the names of the recipes that come with mbert."""
    root = shipped_folder()
    names = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith(f"{PLANS}/"))


def plan_names() -> list[str]:
    """Return the names of the plans that come with mbert."""
    return sorted(path.stem for path in (shipped_folder() / PLANS).glob("*.yaml"))


def description(name: str) -> str:
    """Return the comment in the first line of a shipped recipe, or of a plan in `PLANS`; empty if there is none."""
    with (shipped_folder() / f"{name}.yaml").open(encoding="utf-8") as file:
        line = file.readline()
    return line.removeprefix("#").strip() if line.startswith("#") else ""
