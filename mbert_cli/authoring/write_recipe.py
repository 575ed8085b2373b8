"""Writes a recipe for the user's own files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.authoring.column import FileReading
from mbert_cli.authoring.dev_split import DevSplit
from mbert_cli.authoring.divide_by_column import divide_by_column
from mbert_cli.authoring.new_encoder import default_encoder, named_encoder
from mbert_cli.authoring.new_recipe import new_files
from mbert_cli.authoring.ordered_classes import with_order
from mbert_cli.authoring.recipe_text import recipe_text
from mbert_cli.authoring.saved_streams import save_streams
from mbert_cli.authoring.splits import group_files
from mbert_cli.authoring.task_names import AskedLabel
from mbert_cli.authoring.text_lengths import long_text_remarks, max_length_of
from mbert_cli.storage.output_file import check_output, replacing
from mbert_cli.terminal.console import Console

_BESIDE = "init writes the training and dev files beside the recipe"


@dataclass(frozen=True)
class InitOptions:
    """What the user chose for a new recipe.

    Args:
        reading: how to read the data files.
        text: columns of texts; guessed if empty.
        labels: columns of labels; guessed if empty.
        encoder: what `encoder.checkpoint` can be; None for the default.
        force: replace files that exist.
        ordered: columns of labels whose classes are ordered.
        split_column: the column with the split of each row; None if the files are splits.
    """

    reading: FileReading
    text: Sequence[str] = ()
    labels: Sequence[AskedLabel] = ()
    encoder: str | None = None
    force: bool = False
    ordered: Sequence[str] = ()
    split_column: str | None = None


def write_recipe(files: Sequence[Path], output: Path, options: InitOptions, console: Console) -> None:
    """Write a recipe for the user's own files, with dev files beside it if there are none.

    No file is written before all files are read and checked, except for copies of streams, and for the splits of files
    that are divided by a column.

    Args:
        files: data files, or streams.
        output: the recipe file.
        options: what the user chose.
        console: where guesses and remarks are printed.

    Raises:
        UsageError: the columns cannot be guessed, the files do not fit each other, or a file exists.
        CheckpointError: the encoder cannot be used.
        DataError: a file cannot be read.
    """
    check_output(output, options.force)
    folder = output.parent
    encoder = default_encoder() if options.encoder is None else named_encoder(options.encoder, folder)
    paths = save_streams(files, folder, options.force, console)
    if options.split_column is not None:
        paths = divide_by_column(paths, options.split_column, options.reading, folder, options.force, console)
    groups, remarks = group_files(paths)
    data_sets = with_order(new_files(groups, options.reading, options.text, options.labels), options.ordered)
    for remark in remarks:
        console.info(remark)
    splits = []
    for index, each in enumerate(data_sets):
        for line in each.lines():
            console.info(line)
        if "dev" not in each.files:
            data_sets[index], split = each.with_dev(folder)
            own = each.dev_paths(folder)
            _check_splits(split, own, output, options.force)
            splits.append((split, own))
            for line in data_sets[index].noted():
                console.info(line)
    for line in (*encoder.lines, *long_text_remarks(data_sets, max_length_of(data_sets, encoder))):
        console.info(line)
    recipe = recipe_text(data_sets, folder, encoder)
    for split, own in splits:
        split.write(own)
    with replacing(output) as file:
        file.write(recipe)


def _check_splits(split: DevSplit, paths: dict[str, Path], output: Path, force: bool) -> None:
    """Check that the two files of a split may be written. Files that an earlier `init` wrote are used again.

    Raises:
        UsageError: another file has the name of one of them.
    """
    for name, path in paths.items():
        if not split.is_in(name, path):
            check_output(path, force, other=f"choose another folder, as in -o FOLDER/{output.name}: {_BESIDE}")
