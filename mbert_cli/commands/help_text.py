"""The help texts of commands."""

import inspect
import re
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

EXAMPLE = "$ "
_WIDTH = shutil.get_terminal_size().columns
_NARROW = _WIDTH < 80
"""Whether help is printed without Rich, which cuts words in the panels of a narrow terminal."""
MARKUP: Literal["rich"] | None = None if _NARROW else "rich"
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], **({"terminal_width": _WIDTH} if _NARROW else {})}


class Command(TyperCommand):
    """A command whose help fits a narrow terminal."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _stack_definitions(formatter)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands whose help fits a narrow terminal."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _stack_definitions(formatter)
        super().format_help(ctx, formatter)


def _stack_definitions(formatter: Any) -> None:
    """Write the description of an option below its name: in a column beside it, long words would be cut."""
    formatter.write_dl = partial(formatter.write_dl, col_max=2)


def help_text(command: Callable[..., object]) -> str:
    """Return the docstring of a command in the form that `--help` needs.

    Each paragraph is one line, which is wrapped to the width of the terminal. Lines of examples are kept. Brackets are
    escaped, because Rich would read those of extras as markup.

    Args:
        command: a function whose docstring has a paragraph of examples; their lines begin with a dollar sign.
    """
    text = inspect.getdoc(command) or ""
    paragraphs = re.split(r"\n\s*\n", text if _NARROW else escape(text))
    as_written = "\b\n" if _NARROW else ""  # Click does not wrap the paragraph that follows
    return "\n\n".join(
        f"{as_written}{each}" if each.startswith(EXAMPLE) else " ".join(each.split()) for each in paragraphs
    )


def summary(command: Callable[..., object]) -> str:
    """Return the first sentence of the docstring of a command."""
    return (inspect.getdoc(command) or "").partition("\n")[0]
