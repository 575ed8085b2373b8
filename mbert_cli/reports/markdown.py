"""Markdown files from templates; every inserted text is escaped by the filter `escaped`.

Must not import torch: fast start-up.
"""

from typing import Any

from mbert_cli.messages import one_line
from mbert_cli.reports.html import new_environment


def markdown_page(template: str, **values: Any) -> str:
    """Return a Markdown file.

    Args:
        template: name of a file in `html.TEMPLATES`.
        values: variables of the template; a missing one is an error.
    """
    environment = new_environment()
    environment.filters["escaped"] = _escaped
    return environment.get_template(template).render(**values)


def _escaped(text: str) -> str:
    """Return a text on one line, escaped for Markdown and for HTML."""
    escaped = "".join(f"\\{each}" if each in "\\`*_[]|#~" else each for each in one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
