"""What `--help` prints of a command."""

import inspect
import re
from collections.abc import Callable

from rich.markup import escape

EXAMPLE = "$ "


def help_text(command: Callable[..., object]) -> str:
    """Return a command's docstring, each paragraph as one line, which the terminal's width breaks; examples as written.

    Brackets, such as those of extras, are escaped: Rich would take them for markup and drop them.

    Args:
        command: its docstring has a paragraph whose lines begin with a dollar sign.
    """
    paragraphs = re.split(r"\n\s*\n", escape(inspect.getdoc(command) or ""))
    return "\n\n".join(each if each.startswith(EXAMPLE) else " ".join(each.split()) for each in paragraphs)
