"""Files whose first row looks like data, because they have no header."""

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from mbert_cli.authoring.column import CountedFile
from mbert_cli.authoring.names import is_usual
from mbert_cli.errors import UsageError


def check_headers(files: Collection[CountedFile], text: Sequence[str], labels: Sequence[str]) -> None:
    """Check that the first row of each file contains names of columns.

    A row that looks like data is accepted if it contains a usual name, such as `text`, or if the user named columns of
    texts and of labels that are in it.

    Args:
        files: the splits of one data set.
        text: the columns of texts that the user named.
        labels: the columns of labels that the user named.

    Raises:
        UsageError: files have no header.
    """
    problems = []
    for file in files:
        names = [column.name for column in file.columns]
        is_named = bool(text) and bool(labels) and {*names}.issuperset((*text, *labels))
        if file.remark and not is_named and not any(map(is_usual, names)):
            problems.append(f"{file.path}: {file.remark}{_remedy(file)}.")
    if problems:
        raise UsageError(*problems)


def _remedy(file: CountedFile) -> str:
    """Return a command that writes a copy of a text file with a header, and what to do if the row is a header."""
    path, if_header = Path(file.path), "; or if it is a header, add --text and --label"
    if file.foreign is not None:  # the remark contains a command
        return ""
    if path.suffix.lower() in (".gz", ".parquet") or not path.is_file():
        return if_header
    names = file.delimiter.join(f"name{index}" for index in range(1, len(file.columns) + 1)).replace("\t", "\\t")
    copy = shlex.quote(f"with-header-{path.name}")
    return f", with names of your choice: (printf '{names}\\n'; cat {shlex.quote(file.path)}) > {copy}{if_header}"
