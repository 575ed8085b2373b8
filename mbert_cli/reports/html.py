"""HTML pages: one file each, without scripts or references to other files. All values are escaped.

Must not import torch: fast start-up.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbert_cli.reports.colours import PAGE_COLOURS, PAGE_SERIES

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
"""The folder of the templates. Those of pages extend ``page.html``, which contains the style sheet."""


def html_page(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: a file name in `TEMPLATES`.
        values: the variables of the template; a missing one is an error.
    """
    environment = new_environment()
    environment.globals.update(colours=PAGE_COLOURS, number_of_series_colours=PAGE_SERIES)
    return environment.get_template(template).render(**values)


def new_environment() -> "Environment":
    """Return Jinja's settings for all templates: what is inserted into HTML is escaped."""
    # Imported here because the import is slow and most commands render no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
