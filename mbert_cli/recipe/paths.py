"""Paths in a recipe: variables of the environment are expanded, relative paths become absolute."""

import os
import re
from pathlib import Path

from mbert_cli.messages import shown


def resolve_path(text: str, folder: Path) -> str:
    """Return the absolute path of a data file; the name of a data set on the Hub is returned unchanged.

    Args:
        text: the path as written.
        folder: the folder that a relative path refers to. A path that begins with a variable refers to the working
            folder instead, because the variable was set in a shell.

    Raises:
        ValueError: the path cannot be used. The message continues the name of the value: "is empty".
    """
    expanded = _expanded(text)
    return expanded if expanded.startswith("hub:") else _checked(_absolute(expanded, text, folder))


def resolve_checkpoint(text: str, folder: Path) -> str:
    """Return the absolute path of an encoder's folder; any other text is a name on the Hub or in a package.

    A text is a path if it begins with `.`, `/`, `~` or a variable, or if there is such a folder.

    Args:
        text: the checkpoint as written.
        folder: see `resolve_path`.

    Raises:
        ValueError: see `resolve_path`.
    """
    expanded = _expanded(text)
    path = _absolute(expanded, text, folder)
    is_path = re.match(r"[./~]|\$\{", text) or os.path.isdir(path)
    return _checked(path if is_path and not expanded.startswith("package:") else expanded)


def relative_path(path: str | Path, folder: Path) -> str:
    """Return a path as a recipe contains it: relative to the folder of the recipe.

    Symbolic links to that folder are resolved, as they are when the recipe is read.
    """
    return os.path.relpath(os.path.normpath(Path.cwd() / path), os.path.realpath(folder))


def _expanded(text: str) -> str:
    try:
        expanded = expand(text)
    except KeyError as error:
        raise ValueError(f"uses ${{{error.args[0]}}}, which is not set; set it, or write ${{NAME:-default}}") from None
    if not expanded:
        raise ValueError("is empty")
    return expanded


def _absolute(expanded: str, text: str, folder: Path) -> str:
    if "\0" in expanded:
        raise ValueError(f"is {shown(expanded)}, but a file name cannot contain a NUL character")
    base = Path.cwd() if text.startswith("${") else folder
    return os.path.normpath(base / os.path.expanduser(expanded))


def _checked(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"is {shown(path)}, which is not UTF-8; rename the file or the folder") from None
    return path


def expand(text: str) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by variables of the environment.

    Raises:
        KeyError: a variable without a default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        replacement = os.environ.get(name) or default
        if replacement is None:
            raise KeyError(name)
        return replacement

    return re.sub(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}", value, text)
