"""Pages of HTML in one file each: no script, nothing loaded, whatever is put in is escaped. No torch here."""

from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"
"""Their folder; each extends ``page.html``, which holds the style."""


def html_page(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: a file name in `TEMPLATES`.
        values: what it names; a name that is missing is a fault.
    """
    # Imported here: whoever needs no page need not wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)
