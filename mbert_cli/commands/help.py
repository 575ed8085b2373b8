"""What `--help` prints of a command."""

import inspect
import re
from collections.abc import Callable

EXAMPLE = "$ "


def help_text(command: Callable[..., object]) -> str:
    """Return a command's docstring, each paragraph as one line, which the terminal's width breaks; examples as written.

    Args:
        command: its docstring has a paragraph whose lines begin with a dollar sign.
    """
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(command) or "")
    return "\n\n".join(each if each.startswith(EXAMPLE) else " ".join(each.split()) for each in paragraphs)
