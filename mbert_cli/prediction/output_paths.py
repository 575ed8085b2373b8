"""The output files of `mbert predict`, checked before the model is loaded.

Must not import torch: fast start-up.
"""

from collections.abc import Sequence
from pathlib import Path

from mbert_cli.errors import UsageError
from mbert_cli.prediction.output_formats import FormatName, output_format
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.output_file import check_output, refuse_url
from mbert_cli.storage.remote import file_name


def output_paths(
    inputs: Sequence[str], output: str, force: bool, format_: FormatName, in_folder: bool = False
) -> list[str]:
    """Return the output file of each input. If there are several, create their folder.

    Args:
        inputs: the input files; `-` is standard input.
        output: the output file, `-` for standard output, or the folder of several output files.
        force: whether existing files may be replaced.
        format_: the value of --format.
        in_folder: the output is a folder even if there is one input.

    Raises:
        UsageError: a file cannot be written, or two inputs would have the same output.
    """
    is_one = len(inputs) == 1 and not in_folder
    paths = _one_path(inputs[0], output, force) if is_one else _paths_in_folder(inputs, output, force)
    for path in paths:
        output_format(format_, path).check_output()
    return paths


def _one_path(input_file: str, output: str, force: bool) -> list[str]:
    if output != "-":
        check_output(Path(output), force, input_file)
    return [output]


def _paths_in_folder(inputs: Sequence[str], output: str, force: bool) -> list[str]:
    if output == "-" or "-" in inputs:
        raise UsageError(
            "several inputs must be files, and -o must be a folder; each output has the name of its input."
        )
    refuse_url(output)
    folder, input_of = Path(output), dict[Path, str]()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; for several inputs name a folder.")
    problems: list[str] = []
    for input_file in inputs:
        path = folder / file_name(input_file)
        if path in input_of:
            problems.append(f"{input_file}: has the same name as {input_of[path]}, so both become {path}; rename one.")
        input_of.setdefault(path, input_file)
    if problems:
        raise UsageError(*problems)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path, input_file in input_of.items():
        try:
            check_output(path, force, input_file)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(*problems)
    return [str(path) for path in input_of]
