"""Parts of messages: values, the nearest known name, text that is safe for a terminal."""

import unicodedata
from collections.abc import Sequence

_MOST_SHOWN = 200
_MOST_NAMES = 40
_MOST_OF_A_NAME = 80
_SHORTEST_START = 3  # characters of a name that other names begin with
_MOST_STARTING = 4


def shown(value: object) -> str:
    """Return a value as messages show it: its `repr`, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def nearest(name: str, known: Sequence[str], listed_by: str | None = None, likeness: float = 0.6) -> str:
    """Return the end of a message about an unknown name: the nearest known name, and all known names.

    Args:
        name: the unknown name.
        known: the known names.
        listed_by: the command that lists the known names, if there are too many for a message.
        likeness: the least similarity of the nearest name, from 0 to 1; see `closest`.
    """
    close = closest(name, known, likeness)
    if len(name) >= _SHORTEST_START and (close is None or close.casefold() != name.casefold()):
        starting = [each for each in known if each.casefold().startswith(name.casefold())]
        longer = [each for each in starting if len(each) <= _MOST_OF_A_NAME][:_MOST_STARTING]
    else:
        longer = []
    names = [f"'{each}'" for each in longer or ([close] if close else [])]
    hint = f"; did you mean {' or '.join(names)}?" if names else "."
    if listed_by:
        return f"{hint} Run `{listed_by}` to list them all."
    shortened = [each if len(each) <= _MOST_OF_A_NAME else f"{each[:_MOST_OF_A_NAME]}..." for each in sorted(known)]
    more = f" and {len(shortened) - _MOST_NAMES} more" if len(shortened) > _MOST_NAMES else ""
    return f"{hint} Known: {', '.join(shortened[:_MOST_NAMES])}{more}."


def closest(name: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is most similar to a name; None if there is no similar one.

    Args:
        name: any name.
        known: the known names.
        cutoff: the least similarity, from 0 to 1. Names that differ only in upper and lower case are always similar.
    """
    import difflib  # here, because the command line imports this module before it catches Ctrl-C

    sensible = [each for each in known if len(each) <= _MOST_OF_A_NAME]
    close = [each for each in sensible if each == name] or [
        each for each in sensible if each.casefold() == name.casefold()
    ]
    close = close or difflib.get_close_matches(name[:_MOST_OF_A_NAME], sensible, n=1, cutoff=cutoff)
    return close[0] if close else None


_JOINERS = "\u200c\u200d"  # used in Persian words and in emoji


def one_line(text: str) -> str:
    """Return a text that is safe to print on a terminal: line ends and control characters are escaped."""
    return "".join(each if _is_harmless(each) else ascii(each)[1:-1] for each in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
