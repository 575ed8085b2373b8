"""Shell completion for names of recipes and plans."""

from collections.abc import Sequence
from pathlib import Path


def recipe_or_file(incomplete: str) -> list[str]:
    """Return the shipped recipes and YAML files whose names start with the typed text."""
    from mbert_cli.recipe.shipped import shipped_names

    return _starting_with(incomplete, shipped_names())


def plan_or_file(incomplete: str) -> list[str]:
    """Return the shipped plans and YAML files whose names start with the typed text."""
    from mbert_cli.recipe.shipped import plan_names

    return _starting_with(incomplete, plan_names())


def _starting_with(incomplete: str, names: Sequence[str]) -> list[str]:
    folder, slash, start = incomplete.rpartition("/")
    beside = Path(folder or slash or ".")
    files = []
    for path in sorted(beside.iterdir()) if beside.is_dir() else ():
        if path.name.startswith(start) and (path.suffix in (".yaml", ".yml") or path.is_dir()):
            files.append(f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}")
    return [*(name for name in names if name.startswith(incomplete)), *files]
