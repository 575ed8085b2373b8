"""`mbert guide`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.errors import UsageError
from mbert_cli.messages import nearest

if TYPE_CHECKING:
    from rich.console import Console

PAGES = Path(__file__).parents[1] / "guide"
_MAX_WIDTH = 100  # columns; longer lines are hard to read


def topics() -> list[str]:
    """Return the names of the guide's pages."""
    return sorted(page.stem for page in PAGES.glob("*.md"))


def _starting_with(incomplete: str) -> list[str]:
    return [topic for topic in topics() if topic.startswith(incomplete)]


def guide(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC", help="The page to print. Default: list the pages.", autocompletion=_starting_with
        ),
    ] = None,
) -> None:
    """Print a page of the guide, or the list of pages.

    $ mbert guide
    $ mbert guide recipes

    If the output is not a terminal, the page is printed as Markdown.
    """
    if topic is None:
        longest = max(map(len, topics()))
        for name in topics():
            typer.echo(f"{name:<{longest}}  {_title(name)}" if sys.stdout.isatty() else f"{name}\t{_title(name)}")
        return
    if topic not in topics():
        raise UsageError(f"mbert guide: there is no topic '{topic}'{nearest(topic, topics())}")
    text = _text(topic)
    if not sys.stdout.isatty():
        typer.echo(text, nl=False)
        return
    from rich.console import Console

    show(text, Console())


def show(text: str, console: "Console") -> None:
    """Render a page in a terminal."""
    from rich.markdown import Markdown

    console.print(Markdown(text), width=min(console.width, _MAX_WIDTH))


def _text(topic: str) -> str:
    return (PAGES / f"{topic}.md").read_text(encoding="utf-8")


def _title(topic: str) -> str:
    """Return the heading of a page."""
    return _text(topic).partition("\n")[0].lstrip("# ")
