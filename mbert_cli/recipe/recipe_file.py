"""Recipe files: the text of a file, and the files that it extends."""

import os
from itertools import product, takewhile
from pathlib import Path
from typing import Any

from mbert_cli.errors import RecipeError
from mbert_cli.messages import shown
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.limits import MAX_BYTES, TOO_LARGE
from mbert_cli.recipe.merge import expand_kinds, merge
from mbert_cli.recipe.yaml_text import dump, parse


def read_document(path: Path, source: str | None = None) -> Document:
    """Read a recipe file and the files that it extends.

    Args:
        path: the file.
        source: the file's name in messages; by default the path.

    Raises:
        RecipeError: a file is missing, too large, not YAML or not a mapping; a key appears twice; or files extend each
            other in a circle.
    """
    return _read(path, source or str(path), ())


def _read(path: Path, source: str, above: tuple[Path, ...]) -> Document:
    resolved = path.resolve()
    if resolved in above:
        raise RecipeError(f"{source}: extends itself through {above[-1].name}; break the circle.")
    document = parse(read_text(path, source), source, resolved.parent)
    document.values = expand_kinds(document.values)
    parent = document.values.pop("extends", None)
    if parent is None:
        return document
    place = document.place(("extends",))
    if not isinstance(parent, str):
        raise RecipeError(f"{place}: extends must be the name of a recipe file, but is {shown(parent)}.")
    if not os.path.isfile(resolved.parent / parent):
        raise RecipeError(f"{place}: extends '{parent}', but there is no such file in {resolved.parent}.")
    base = _read(resolved.parent / parent, str(Path(source).parent / parent), (*above, resolved))
    merge(base, document)
    return Document(base.values, base.places, source, resolved.parent)


def read_text(path: Path, source: str) -> str:
    """Read the text of a recipe file, or of another page of YAML.

    Args:
        path: the file.
        source: the file's name in messages.

    Raises:
        RecipeError: the file is missing, too large, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise RecipeError(f"{source}: is a folder; name the recipe file in it.") from None
    except OSError as error:
        raise RecipeError(f"{source}: cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_BYTES:
        raise RecipeError(f"{source}: {TOO_LARGE}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RecipeError(f"{source}:{line}: is not UTF-8 (byte {error.start}); save it as UTF-8.") from None


def merged_text(path: Path) -> str:
    """Return a recipe as the text of one file that can be moved to any folder.

    The files that it extends are merged in, and relative paths become absolute. Of the comments, only those at the
    start of the file are kept.

    Raises:
        RecipeError: the recipe, or a file that it extends, cannot be read.
    """
    document = read_document(path)
    tasks = document.values.get("tasks")
    names = list(tasks) if isinstance(tasks, dict) else []
    for *above, key in (("encoder", "checkpoint"), *product(["tasks"], names, ["train", "dev", "test"])):
        section: Any = document.values
        for part in above:
            section = section.get(part) if isinstance(section, dict) else None
        text = section.get(key) if isinstance(section, dict) else None
        if isinstance(text, str) and not text.startswith(("~", "$")):
            file = document.place((*above, key)).folder / text
            section[key] = str(file) if os.path.exists(file) else text
    lines = read_text(path, str(path)).splitlines(keepends=True)
    return "".join(takewhile(lambda line: line.startswith("#"), lines)) + dump(document.values)
