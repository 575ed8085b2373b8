"""The values of a recipe before they are checked, each with the place where it was written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]
"""The keys and indices that lead to a value in a recipe, e.g. ``("adapters", 0, "rank")``."""


@dataclass(frozen=True)
class Place:
    """Where a value was written.

    Args:
        text: the place as messages show it, e.g. ``recipes/x.yaml:7``.
        folder: the folder that relative paths refer to.
    """

    text: str
    folder: Path

    def __str__(self) -> str:
        return self.text


@dataclass
class Document:
    """The values of a recipe with their places, before they are checked.

    Args:
        values: nested dicts, lists and scalars.
        places: the place of each value.
        source: the file, as the user named it.
        folder: the file's folder.
    """

    values: dict[str, Any]
    places: dict[KeyPath, Place]
    source: str
    folder: Path = field(default_factory=Path.cwd)

    def place(self, path: KeyPath) -> Place:
        """Return the place of a value, or that of its nearest parent if the value was not written."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return Place(self.source, self.folder)


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as people write it: ``adapters[0].rank``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
