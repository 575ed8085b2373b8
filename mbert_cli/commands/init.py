"""`mbert init`."""

import gzip
import re
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import Columns, Delimiter, Force, Quiet, Quoting, split_pair
from mbert_cli.errors import DataError, UsageError, command_line
from mbert_cli.storage.output_file import check_output, is_stream, replacing
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.authoring.new_recipe import AskedLabel


def init(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Tables with headers: NAME.tsv, or NAME-train, NAME-dev; - is stdin."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe.")] = Path("recipe.yaml"),
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="COLUMN", help="The column of texts; twice for pairs.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="[TASK=]COLUMN", help="A column of labels. May be repeated: each makes a task."
        ),
    ] = None,
    columns: Columns = None,
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a recipe for your own files: columns, labels and heads are guessed, and printed.

    $ mbert init reviews.tsv questions.csv -o mine.yaml
    $ mbert init a.tsv --text title --label kind --label stars

    NAME-train, NAME-dev and NAME-test (or train_NAME, NAME_trial, NAME_test_annotated and so on) are splits of one;
    another file is a training file. A file without labels is left out. Where there is no dev file, a tenth of the
    training texts, of each class, is set aside in files beside the recipe, chosen by their hash. Standard input,
    `-`, is saved beside the recipe as `input`.
    """
    from mbert_cli.authoring.column import FileReading
    from mbert_cli.authoring.new_recipe import new_files, recipe_text
    from mbert_cli.authoring.splits import group_files

    console = Console(quiet)
    check_output(output, force)
    folder = output.parent
    files = _without_streams(files, folder, force, console)
    names = dict(split_pair(pair, "--columns NAME=OTHER") for pair in columns or [])
    reading = FileReading(quoting or "auto", delimiter or "auto", names)
    groups, remarks = group_files(files)
    found = new_files(groups, reading, text or [], _asked(label or []))
    for each in found:
        for path in {} if "dev" in each.files else each.dev_paths(folder).values():
            check_output(path, force)
    for remark in remarks:
        console.info(remark)
    splits = []
    for index, each in enumerate(found):
        for line in each.lines():
            console.info(line)
        if "dev" not in each.files:
            found[index], split = each.with_dev(folder)
            splits.append((split, each.dev_paths(folder)))
            for line in found[index].noted():
                console.info(line)
    written = recipe_text(found, folder)
    for split, paths in splits:  # not before all is known to be right
        split.write(paths)
    with replacing(output) as file:
        file.write(written)
    console.info(f"wrote {output}: look at it, then check it with: {command_line('validate', output)}")
    console.info(f"and train it with: {command_line('train', output)}")


def _without_streams(files: list[Path], folder: Path, force: bool, console: Console) -> list[Path]:
    """Return the files, each stream saved as a file beside the recipe: a stream can be read only once."""
    streams = [path for path in files if is_stream(path) or path.is_fifo()]
    saved = {}
    for number, path in enumerate(streams, 1):
        saved[path] = _saved(path, number, folder, force)
        console.info(f"saved {'standard input' if str(path) == '-' else path} as {saved[path]}")
    return [saved.get(path, path) for path in files]


def _saved(stream: Path, number: int, folder: Path, force: bool) -> Path:
    """Copy a stream to a file beside the recipe; return the file."""
    from mbert_cli.data.source import open_source

    source, kind = open_source(str(stream))
    try:
        first = source.readline(_MOST_OF_A_HEADER)
        ending = "jsonl" if first.startswith(b"{") else "tsv" if b"\t" in first else "csv"
        path = folder / f"input{'' if number == 1 else f'_{number}'}.{'parquet' if kind == 'parquet' else ending}"
        check_output(path, force)
        with replacing(path) as copy:
            copy.buffer.write(first)
            shutil.copyfileobj(source, copy.buffer)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{stream}: is damaged or cut off ({error}); compress it again.") from None
    return path


_MOST_OF_A_HEADER = 1 << 20  # bytes


def _asked(labels: list[str]) -> "list[AskedLabel]":
    """Return the columns of labels that the user named, each with its task's name, if that was given, too."""
    from mbert_cli.authoring.new_recipe import AskedLabel

    found = []
    for text in labels:
        task, equals, column = text.partition("=")
        if equals and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", task) and column:
            found.append(AskedLabel(column, task))
        else:
            found.append(AskedLabel(text))
    doubled = next((each.column for each in found if [other.column for other in found].count(each.column) > 1), None)
    if doubled is not None:
        raise UsageError(f"--label {doubled}: is named twice; one task is made for each column.")
    return found
