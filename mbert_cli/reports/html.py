"""Pages of HTML in one file each: no script, nothing loaded, whatever is put in is escaped. No torch here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
"""Their folder; each extends ``page.html``, which holds the style."""


def html_page(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: a file name in `TEMPLATES`.
        values: what it names; a name that is missing is a fault.
    """
    return new_environment().get_template(template).render(**values)


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
