"""Recipe files: the text of a file, and the files that it extends."""

import os
from pathlib import Path

from mbert_cli.errors import RecipeError
from mbert_cli.messages import shown
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.merge import expand_kinds, merge
from mbert_cli.recipe.yaml_text import parse

MAX_BYTES = 1 << 20


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
        raise RecipeError(f"{source}: is larger than 1 MiB; a recipe is a page of YAML.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RecipeError(f"{source}:{line}: is not UTF-8 (byte {error.start}); save it as UTF-8.") from None
