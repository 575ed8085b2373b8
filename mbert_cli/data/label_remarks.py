"""Remarks on the labels of a file, for users: case, lists of labels, classes without dev rows."""

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from mbert_cli.data.list_cells import are_lists, listed, parts_of
from mbert_cli.errors import counted

_MOST_SHOWN = 6
_MISSING = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "?", "-", "--"})
_SEPARATORS = ("|", ";", ",", "/", "+")
_DELIMITERS = ("|", ";", ",")  # the other separators also occur in names of classes


def case_remark(labels: Sequence[str]) -> str | None:
    """Return a remark if two labels differ only in upper and lower case, otherwise None."""
    spellings: dict[str, list[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), []).append(label)
    groups = [" and ".join(f"'{label}'" for label in alike) for alike in spellings.values() if len(alike) > 1]
    if not groups:
        return None
    more = f", and {len(groups) - _MOST_SHOWN:,} more groups of labels" if len(groups) > _MOST_SHOWN else ""
    listed = f"{'; '.join(groups[:_MOST_SHOWN])}{more}"
    return f"{listed} differ only in case, and each is a separate class; use one spelling"


def missing_remark(counts: Mapping[str, int], in_recipe: bool = True) -> str | None:
    """Return a remark if a label looks like a missing value, otherwise None. Data sets write `-1` for it, too.

    Args:
        counts: number of rows of each label.
        in_recipe: advise a change of the recipe; otherwise the option of `mbert init`.
    """
    missing = [label for label in counts if label.strip().casefold() in _MISSING]
    if "-1" in counts and {"0", "1", "2"} <= counts.keys() and all(label.isdecimal() for label in {*counts} - {"-1"}):
        missing.append("-1")
    if not missing:
        return None
    rows = sum(counts[label] for label in missing)
    options = " ".join(f"--missing {shlex.quote(label)}" for label in missing[:_MOST_SHOWN])
    change = "remove it from the head's labels and set on_bad_row: skip" if in_recipe else f"add {options}"
    return (
        f"{first_of(missing)} ({counted(rows, 'row')}) looks like a missing value, but is a class; if the label is "
        f"missing there, {change}"
    )


def list_separator(labels: Collection[str]) -> str | None:
    """Return the character that separates several labels in one text, such as `|` in `rude|threat`; None if none does.

    A character counts as a separator if most texts that contain it have a part that occurs elsewhere: as a label, or as
    a part of another text. For texts that are JSON or Python lists, the separator is `,`.
    """
    if any(label.startswith("[") and label.endswith("]") for label in labels):
        return ","
    for separator in _SEPARATORS:
        lists = [parts for label in labels if len(parts := [each.strip() for each in label.split(separator)]) > 1]
        known = Counter(part for parts in lists for part in {*parts})
        known.update(label for label in labels if separator not in label)
        recurring = sum(any(part and known[part] > 1 for part in parts) for parts in lists)
        if 2 * recurring > len(lists):
            return separator
    return None


def labels_in_lists(cells: Collection[str]) -> tuple[str, list[str]] | None:
    """Return the delimiter and the labels of cells that are lists of labels; None if they are not lists.

    The delimiter is `|`, `;` or `,`. At least one label must also be a whole cell, and cells must have different
    numbers of labels: `sport, tennis` and `sport, football` are classes with two names. For JSON or Python lists, it is
    the first of `,`, `|` and `;` that no label contains: predictions are joined by it.
    """
    if are_lists(cells):
        return _labels_in_brackets(cells)
    delimiter = list_separator(cells)
    if delimiter not in _DELIMITERS or any(cell.startswith("[") for cell in cells):
        return None
    lists = [parts_of(cell, delimiter) for cell in cells]
    labels = {part for parts in lists for part in parts}
    alone = any(len(parts) == 1 for parts in lists)
    if not alone or len(labels) < 2 or any(len({*parts}) < len(parts) for parts in lists):
        return None
    return delimiter, sorted(labels)


def _labels_in_brackets(cells: Collection[str]) -> tuple[str, list[str]] | None:
    lists = [listed(cell) or [] for cell in cells]
    labels = {label for items in lists for label in items}
    if len(labels) < 2 or any(len({*items}) < len(items) for items in lists):
        return None
    delimiter = next((each for each in reversed(_DELIMITERS) if not any(each in label for label in labels)), None)
    return None if delimiter is None else (delimiter, sorted(labels))


def list_remark(labels: Sequence[str]) -> str | None:
    """Return a remark if the labels look like lists of labels, otherwise None."""
    separator = list_separator(labels)
    if separator is None:
        return None
    several = next((label for label in labels if separator in label), labels[0])
    return (
        f"'{several}' looks like a list of labels; each such text is a separate class. If it is a list, use the head "
        "multi_label, see: mbert guide heads"
    )


def first_of(names: Sequence[str]) -> str:
    """Return the first names as a text, with the number of those left out. A name with a comma is quoted."""
    more = f" and {len(names) - _MOST_SHOWN:,} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(f"'{name}'" if "," in name else name for name in names[:_MOST_SHOWN]) + more


def without_dev_rows(names: Sequence[str], are_sets: bool = False) -> str:
    """Return a remark that these classes have no dev rows; or these labels, if a row has a set of labels."""
    one, several = ("label", "labels") if are_sets else ("class", "classes")
    if len(names) == 1:
        return f"{one} {first_of(names)} has no dev rows, so it counts as 0 in macro averages"
    return f"{several} {first_of(names)} have no dev rows, so each counts as 0 in macro averages"
