"""Why a row cannot be used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Why a row cannot be used. `str()` returns the text and the remedies.

    Args:
        text: what is wrong, without a place or a full stop.
        remedies: what the user can do. Messages about several rows print each remedy once.
        kind: rows with the same kind are listed together; by default rows with the same text.
        in_bytes: the line is not text, so another delimiter or quoting does not help.
    """

    text: str
    remedies: tuple[str, ...] = ()
    kind: str = ""
    in_bytes: bool = False

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", self.text)

    def __str__(self) -> str:
        return "; ".join((self.text, *self.remedies))
