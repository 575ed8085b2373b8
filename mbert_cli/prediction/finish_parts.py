"""The end of a prediction whose rows were divided among processes: outputs are joined, and problems reported.

Must not import torch: fast start-up.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.errors import RunFailedError
from mbert_cli.prediction.divided_files import PartedFile, PartResult, note_joined, remove_parts
from mbert_cli.prediction.join_parts import join_parts
from mbert_cli.terminal.console import Console


def finish_parts(files: Sequence[PartedFile], results: Iterable[PartResult], console: Console) -> None:
    """Join the parts of each input that was computed, and remove them.

    Parts of an input that cannot be used are removed, too. If a part failed for another reason, such as a full disk,
    the parts of its input are kept, so that the same command continues with them.

    Args:
        files: the inputs and their parts.
        results: the results of all parts, in any order.
        console: prints what was written, and what the user should know.

    Raises:
        MbertError: an output cannot be written.
        RunFailedError: some parts could not be computed; the message lists why.
    """
    done: dict[str, list[PartResult]] = {file.input: [] for file in files}
    for result in results:
        done[result.input].append(result)
    failed = [result for each in done.values() for result in each if result.problems]
    for file in files:
        if not any(result.problems for result in done[file.input]):
            note_joined(file.output)
            join_parts([Path(part.output) for part in file.parts], file.output, True, console.info)
            _report(file.output, done[file.input], console)
    continued = {result.input for result in failed} - {result.input for result in failed if result.is_input_bad}
    remove_parts([file for file in files if file.input not in continued])
    if failed:
        problems = dict.fromkeys(problem for result in failed for problem in result.problems)
        raise RunFailedError(failed[0].exit_code, *problems)


def _report(output: Path, results: Sequence[PartResult], console: Console) -> None:
    cut: dict[str, list[int]] = {}
    for result in results:
        for task, (longer, rows) in result.cut.items():
            before = cut.get(task, [0, 0])
            cut[task] = [before[0] + longer, before[1] + rows]
    notes = dict.fromkeys(note for result in results for note in result.notes)
    for note in [*notes, *filter(None, [LengthLimits(**results[0].limits).note(cut)])]:
        console.info(f"{output}: {note}")
