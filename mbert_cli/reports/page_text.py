"""Values as pages print them."""

from typing import Any

from mbert_cli.messages import one_line

_MOST_TEXT = 400  # characters of a text
_MOST_ENTRIES = 100  # of a list in a recipe


def score_text(value: float | None) -> str:
    """Return a score with three decimals; nothing for None."""
    return "" if value is None else f"{value:.3f}"


def short_text(text: str) -> str:
    """Return a text of a data file as one line, cut if it is long."""
    return one_line(text) if len(text) <= _MOST_TEXT else f"{one_line(text[:_MOST_TEXT])}…"


def with_short_lists(value: Any) -> Any:
    """Return a part of a recipe with its long lists cut, such as the names of a thousand classes."""
    if isinstance(value, dict):
        return {key: with_short_lists(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    shown = [with_short_lists(each) for each in value[:_MOST_ENTRIES]]
    if len(value) > _MOST_ENTRIES:
        shown.append(f"... and {len(value) - _MOST_ENTRIES:,} more, in recipe.yaml")
    return shown
