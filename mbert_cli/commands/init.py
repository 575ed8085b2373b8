"""`mbert init`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import Columns, Delimiter, Force, Quiet, Quoting, split_pair
from mbert_cli.errors import UsageError, command_line
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.authoring.task_names import AskedLabel


def init(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Tables with a header, such as mood.tsv, or mood-train.tsv and mood-dev.tsv; - is stdin.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The recipe file.")] = Path(
        "recipe.yaml"
    ),
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="COLUMN", help="The column of the text. For pairs, give it twice."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="[TASK=]COLUMN", help="A column of labels. May be repeated, for one task each."
        ),
    ] = None,
    ordered: Annotated[
        list[str] | None,
        typer.Option("--ordered", metavar="COLUMN", help="A label column with ordered classes. May be repeated."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="The encoder: a Hub name, a folder, a run folder, or package:NAME/path. Default: a small BERT.",
        ),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            "--missing", metavar="LABEL", help="A label that means: no label. Its rows are skipped. May be repeated."
        ),
    ] = None,
    split_column: Annotated[
        str | None,
        typer.Option(
            "--split-column", metavar="COLUMN", help="A column with the split of each row: train, dev or test."
        ),
    ] = None,
    columns: Columns = None,
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a recipe for your own files; columns, labels and heads are guessed and printed.

    $ mbert init reviews.tsv questions.csv -o mine.yaml
    $ mbert init a.tsv --text title --label kind --label stars

    NAME-train, NAME-dev and NAME-test are the splits of one task; train_NAME, NAME_trial, NAME_test_annotated and
    similar names work, too. Any other file is a training file. A file without labels is left out. If a task has no dev
    file, its training file is split: a tenth of the texts of each class, chosen by their hash, becomes the dev file;
    both files are written beside the recipe. Standard input, `-`, is saved beside the recipe as `input`.
    """
    from mbert_cli.authoring.column import FileReading
    from mbert_cli.authoring.write_recipe import InitOptions, write_recipe

    console = Console(quiet)
    names = dict(split_pair(pair, "--columns NAME=OTHER") for pair in columns or [])
    reading = FileReading(quoting or "auto", delimiter or "auto", names, tuple(missing or []))
    asked = _asked_labels(label or [])
    options = InitOptions(reading, text or [], asked, encoder, force, ordered or [], split_column)
    write_recipe(files, output, options, console)
    console.info(f"wrote {output}: look at it, then check it with: {command_line('validate', output)}")
    console.info(f"and train it with: {command_line('train', output)}")


def _asked_labels(labels: Sequence[str]) -> "list[AskedLabel]":
    """Return the columns of --label, each with the name of its task if that is given."""
    from mbert_cli.authoring.task_names import AskedLabel

    asked = []
    for text in labels:
        task, equals, column = text.partition("=")
        if equals and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", task) and column:
            asked.append(AskedLabel(column, task))
        else:
            asked.append(AskedLabel(text))
    columns = [each.column for each in asked]
    if repeated := next((column for column in columns if columns.count(column) > 1), None):
        raise UsageError(f"--label {repeated}: is given twice; name each column once.")
    return asked
