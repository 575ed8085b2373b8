"""Prediction in the processes that torchrun has started: each computes some parts, and the first one joins them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mbert_cli.errors import counted
from mbert_cli.machine.process_group import Processes
from mbert_cli.prediction.divided_files import Part, PartResult, divide
from mbert_cli.prediction.embed_file import EmbedOptions
from mbert_cli.prediction.finish_parts import finish_parts
from mbert_cli.prediction.part_worker import ModelOptions, PartWorker
from mbert_cli.prediction.predict_files import PredictOptions
from mbert_cli.terminal.console import Console


def compute_in_processes(
    run: Path,
    files: Mapping[str, str],
    options: PredictOptions | EmbedOptions,
    model: Mapping[str, Any],
    processes: Processes,
    console: Console,
) -> None:
    """Predict or embed files. An input that cannot be read does not stop the others.

    A part is the output of `--shard`. So a part that is continued after a crash has the same bytes, and the joined file
    has those of one process. The processes take the parts in turn; the first process also joins them.

    Args:
        run: the run folder.
        files: for each input its output.
        options: how inputs are read and outputs are written.
        model: options of `Predictor`.
        processes: the processes; there are several.
        console: prints progress, and afterwards what the user should know; only that of the first process is used.

    Raises:
        MbertError: an output or an option cannot be used. If inputs cannot be read, the message lists all.
        LostProcessError: another process has ended.
    """
    with processes.together():
        divided = divide(files, processes.count) if processes.is_first else []
    if processes.is_first:
        processes.post("parts", json.dumps([asdict(part) for file in divided for part in file.parts]))
        console.show_log()
    parts = [Part(**each) for each in json.loads(processes.text_from(0, "parts"))]
    worker = PartWorker(ModelOptions(str(run), model), options, console if processes.is_first else None)
    for number in range(processes.rank, len(parts), processes.count):
        processes.post(_name(number), json.dumps(asdict(worker.result_of(parts[number]))))
    if processes.is_first:
        finish_parts(divided, _results(len(parts), processes, console), console)


def _results(parts: int, processes: Processes, console: Console) -> list[PartResult]:
    """Wait for the results of all parts, and return them."""
    results = []
    with console.bar(f"{counted(parts, 'part')} in {processes.count} processes", parts) as bar:
        for number in range(parts):
            results.append(PartResult(**json.loads(processes.text_from(number % processes.count, _name(number)))))
            bar.advance()
    return results


def _name(number: int) -> str:
    return f"part/{number}"
