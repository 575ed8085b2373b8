"""Guesses what the columns of a file contain: texts, labels, an id."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mbert_cli.authoring.column import Column, CountedFile
from mbert_cli.authoring.guess_labels import is_flag, why_impossible, why_unlikely, why_unreadable
from mbert_cli.authoring.names import are_a_pair, is_label_name, label_rank, suggests_id, suggests_text
from mbert_cli.data.label_text import is_date
from mbert_cli.errors import UsageError, counted
from mbert_cli.messages import nearest

_MOST_LISTED = 12


_FEW = 12  # rows; in fewer rows, distinct values do not show that a column contains ids


class NoLabelsError(UsageError):
    """No column of a file looks like labels."""


@dataclass(frozen=True)
class Guess:
    """What the columns of a file contain.

    Args:
        text: the column of texts, or two columns.
        is_pair: the two texts are of the same kind, such as two questions; a title and a body are not.
        labels: the chosen columns of labels, each with the reason.
        others: other columns that could be labels.
        refused: columns that are not labels, each with the reason; without `spare`.
        ids: columns that contain ids, a different one in each row.
        words: mean number of words in the texts of a row.
        word_counts: number of rows with each number of words in the longer text.
        are_flags: the columns are labels of one task: 1 in a column means that the row has this label.
        spare: columns of texts that the tasks do not read.
    """

    text: list[str]
    is_pair: bool
    labels: dict[str, str]
    others: list[str]
    refused: dict[str, str]
    ids: list[str]
    words: float
    word_counts: Mapping[int, int] = field(default_factory=dict)
    are_flags: bool = False
    spare: Sequence[str] = ()


def guess_columns(file: CountedFile, text: Sequence[str] = (), labels: Sequence[str] = ()) -> Guess:
    """Guess what the columns of a file contain.

    Args:
        file: counts of the columns.
        text: the columns of texts; if empty, they are guessed.
        labels: the columns of labels; if empty, one is guessed.

    Raises:
        UsageError: a given column does not exist or cannot be used, or no column looks like texts.
        NoLabelsError: no column looks like labels.
    """
    _check_texts(file, text)
    for name in (*text, *labels):
        if file.column(name) is None:
            known = [each.name for each in file.columns if each.name]
            what = "has more than one column" if name in known else "has no column"
            hint = "; rename all but one." if name in known else nearest(name, known)
            raise UsageError(f"{file.path}: {what} '{name}'{hint}{_header_hint(file)}")
    if not any(column.filled for column in file.columns):
        raise UsageError(f"{file.path}: contains no rows below its header.")
    candidates = [column for column in file.columns if column.name not in text]
    reasons = {column.name: _why_not(column) for column in candidates}
    likely = [column for column in candidates if reasons[column.name] is None]
    taken = _asked(file, labels) or _chosen(file, likely, reasons)
    free = [column for column in file.columns if column.name not in taken and column.is_distinct]
    only = [name for name in labels if not text and _could_be_text(file.column(name)) and len(taken) == len(labels)]
    if only and not any(map(_could_be_text, free)):
        raise UsageError(
            f"{file.path}: '{only[0]}' is the only column that looks like texts, so it cannot be the label; choose "
            "another column with --label."
        )
    texts, is_pair = _texts(file, free, text)
    names = [column.name for column in texts]
    unused = [column for column in candidates if column.name not in {*taken, *names}]
    ids = [column.name for column in free if column.name not in names and column.is_unique and _looks_like_id(column)]
    spare = [column.name for column in unused if reasons[column.name] and _is_spare_text(column)]
    return Guess(
        text=names,
        is_pair=is_pair,
        labels=taken,
        are_flags=len(taken) > 1 and not labels,
        others=[column.name for column in unused if reasons[column.name] is None],
        refused={name: why for name, why in reasons.items() if why and name not in {*taken, *names, *spare}},
        spare=spare,
        ids=sorted(ids, key=lambda name: name != "id"),
        words=sum(column.mean_words for column in texts),
        word_counts=max(texts, key=lambda column: column.words).word_counts,
    )


def _check_texts(file: CountedFile, text: Sequence[str]) -> None:
    """Check the columns of texts that the user named."""
    if len(text) > 2:
        raise UsageError(f"{file.path}: --text is given {len(text)} times, but a task reads one text or two.")
    if len(text) == 2 and text[0] == text[1]:
        raise UsageError(f"{file.path}: --text {text[0]} is given twice; name two different columns.")
    for name in text:
        column = file.column(name)
        if column is not None and column.nested:
            raise UsageError(f"{file.path}: --text {name}: the column contains {column.nested}; name one with texts.")


def _header_hint(file: CountedFile) -> str:
    return (f" ({file.remark})" if file.remark else "") + file.delimiter_hint


def _why_not(column: Column) -> str | None:
    if suggests_id(column.name) or column.nested:
        return why_unlikely(column) or why_impossible(column)
    return why_impossible(column) or why_unlikely(column)


def _asked(file: CountedFile, labels: Sequence[str]) -> dict[str, str]:
    """Return the columns that the user named as labels, with a doubt if a column does not look like labels."""
    asked = {}
    for name in labels:
        column = file.column(name)
        assert column is not None, "checked by guess_columns"
        problem = why_impossible(column)
        if problem:
            raise UsageError(f"{file.path}: {name} {problem}. Or choose another column with --label.")
        doubt = why_unlikely(column)
        asked[name] = f"given, but it does not look like labels: {doubt}" if doubt else "given"
    return asked


def _chosen(file: CountedFile, likely: list[Column], reasons: dict[str, str | None]) -> dict[str, str]:
    named = [(rank, column) for column in likely if (rank := label_rank(column.name)) is not None]
    if named or likely:
        best = min(named, key=lambda pair: (pair[0], pair[1].name))[1] if named else likely[-1]  # usually the last one
        flags = [column for column in ([each for _, each in named] or likely) if is_flag(column)]
        # Columns of one set of labels are written alike: among 0 and 1, a column of TRUE and FALSE is another thing.
        alike = [column for column in flags if column.values.keys() == best.values.keys()]
        if best in alike and len(alike) > 1 and not is_label_name(best.name):
            return {column.name: "guessed from their values" for column in alike}
        return {best.name: "guessed from its name" if named else "guessed from its values"}
    columns = [column for column in file.columns if column.name in reasons]
    unreadable = {column.name: f"'{column.name}' {why}" for column in columns if (why := why_unreadable(column))}
    problem = ", or name another column" if unreadable else "no column looks like labels; name it"
    problem = "; ".join(unreadable.values()) + problem
    listed = [f"'{name}' ({why})" for name, why in reasons.items() if name not in unreadable]
    more = f" and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    raise NoLabelsError(
        f"{file.path}: {problem} with --label. Known: "
        f"{', '.join(listed[:_MOST_LISTED]) or 'none'}{more}.{_header_hint(file)}"
    )


def _texts(file: CountedFile, columns: list[Column], text: Sequence[str]) -> tuple[list[Column], bool]:
    if text:
        return [column for name in text for column in file.columns if column.name == name], len(text) == 2
    texts = list(filter(_could_be_text, columns))
    if not texts:
        raise UsageError(f"{file.path}: {_no_texts(columns)}{_header_hint(file)}")
    pairs = [(one, two) for one in texts for two in texts if one is not two and are_a_pair(one.name, two.name)]
    if pairs:  # sentence1 and sentence2 rather than sentence1_parse and sentence2_parse
        return [*min(pairs, key=lambda pair: not (suggests_text(pair[0].name) and suggests_text(pair[1].name)))], True
    longest = sorted(texts, key=lambda column: -column.words)[:2]
    shorter = longest[-1]
    is_text = suggests_text(shorter.name) or _has_sentences(shorter)
    if len(longest) == 2 and is_text and shorter.distinct > 1 and shorter.words * 10 >= longest[0].words:
        return [column for column in texts if column in longest], False
    return longest[:1], False


def _could_be_text(column: Column | None) -> bool:
    if column is None or column.nested or not column.filled or _looks_like_id(column):
        return False
    return suggests_text(column.name) or (column.mean_words >= 2 and not all(map(is_date, column.values)))


def _has_sentences(column: Column) -> bool:
    """Whether most cells are different texts of some words: no names of persons, no places, no time zones."""
    return column.mean_words >= 3 and 2 * column.distinct > column.filled


def _is_spare_text(column: Column) -> bool:
    """Whether a column that no task reads contains texts of several words."""
    return column.is_distinct and column.distinct > 1 and column.mean_words > 3 and _could_be_text(column)


def _no_texts(columns: Sequence[Column]) -> str:
    """Return a message that no column looks like texts, with the options that name a column."""
    rows = max((column.rows for column in columns), default=0)
    if not columns:
        return "the label columns leave no column to use as text; name the text with --text, the labels with --label."
    why = f"{counted(rows, 'row')} are too few to guess from" if 1 < rows < _FEW else "the cells are too short"
    why = "1 row is too few to guess from" if rows == 1 else why
    labels = {"-1", "0", "1"}  # -1 for a missing label
    possible = [column for column in columns if not (suggests_id(column.name) or labels.issuperset(column.values))]
    if not possible:
        return "no column looks like texts, only like ids and labels; leave the file out, or add a column of texts."
    options = " or ".join(f"--text {shlex.quote(column.name)}" for column in possible[:_MOST_LISTED])
    return f"no column looks like texts: {why}; add {options}{' (two for pairs)' if len(possible) > 1 else ''}."


def _looks_like_id(column: Column) -> bool:
    """Whether a column contains ids: its name suggests it, or each row has a different word that is not a number."""
    if suggests_id(column.name):
        return column.mean_words < 1.5
    return column.is_unique and column.rows > _FEW and column.mean_words < 1.5 and not column.numbers
