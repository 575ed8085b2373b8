"""What `--help` prints of a command."""

import inspect
import re
import shutil
from collections.abc import Callable
from typing import Any, Literal

from rich.markup import escape

EXAMPLE = "$ "
_WIDTH = shutil.get_terminal_size().columns
_NARROW = _WIDTH < 80
"""Whether help is printed as plain lines: on a narrow terminal Rich cuts words of its panels."""
MARKUP: Literal["rich"] | None = None if _NARROW else "rich"
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], **({"terminal_width": _WIDTH} if _NARROW else {})}


def help_text(command: Callable[..., object]) -> str:
    """Return a command's docstring, each paragraph as one line, which the terminal's width breaks; examples as written.

    Brackets, such as those of extras, are escaped: Rich would take them for markup and drop them.

    Args:
        command: its docstring has a paragraph whose lines begin with a dollar sign.
    """
    text = inspect.getdoc(command) or ""
    paragraphs = re.split(r"\n\s*\n", text if _NARROW else escape(text))
    as_written = "\b\n" if _NARROW else ""  # Click's sign for lines that are not wrapped
    return "\n\n".join(
        f"{as_written}{each}" if each.startswith(EXAMPLE) else " ".join(each.split()) for each in paragraphs
    )
