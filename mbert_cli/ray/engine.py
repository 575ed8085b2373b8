"""`--engine ray`: computes the parts of the inputs with actors of Ray Data, and joins them.

Ray Data starts the actors, gives them parts, and restarts those that die. A part is the output of `--shard`. So a part
that is computed twice, or continued after a crash, has the same bytes, and the joined file has those of one process.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mbert_cli.data.truncation import truncation_note
from mbert_cli.errors import RunFailedError, counted
from mbert_cli.prediction.embed_file import EmbedOptions
from mbert_cli.prediction.join_parts import join_parts
from mbert_cli.prediction.predict_files import PredictOptions
from mbert_cli.ray.cluster import Workers, check_ray, connected, share_out
from mbert_cli.ray.parts import PartedFile, PartResult, divide, remove_parts
from mbert_cli.terminal.console import Console


def compute(
    run: Path,
    files: Mapping[str, str],
    options: PredictOptions | EmbedOptions,
    model: Mapping[str, Any],
    address: str | None,
    workers: int | None,
    console: Console,
) -> None:
    """Predict or embed files with the actors of a Ray cluster. An input that cannot be read does not stop the others.

    All machines of the cluster need mbert, and the run folder, the inputs and the outputs at the same paths.

    Args:
        run: the run folder.
        files: for each input its output.
        options: how inputs are read and outputs are written.
        model: options of `Predictor`.
        address: see `connected`.
        workers: number of actors; see `share_out`.
        console: prints progress, and afterwards what the user should know.

    Raises:
        MbertError: an input, an output or an option cannot be used. If inputs cannot be read, the message lists all.
    """
    check_ray()
    with connected(address):
        shares = share_out(workers, model["device"])
        divided = divide(files, shares.count)
        given = {**model, "device": "cuda" if shares.gpus else "cpu"}
        if model["encoder"] and Path(model["encoder"]).exists():
            given["encoder"] = str(Path(model["encoder"]).resolve())
        done: dict[str, list[PartResult]] = {file.input: [] for file in divided}
        total = sum(len(file.parts) for file in divided)
        with console.bar(f"{counted(total, 'part')} on {counted(shares.count, 'worker')}", total) as bar:
            for result in _results(run.resolve(), divided, options, given, shares):
                done[result.input].append(result)
                bar.advance()
    complete = [file for file in divided if not any(each.problems for each in done[file.input])]
    for file in complete:
        join_parts([Path(part.output) for part in file.parts], file.output, True, _no_note)
        _report(file, done[file.input], console)
    remove_parts(complete)
    failed = [result for results in done.values() for result in results if result.problems]
    if failed:
        problems = dict.fromkeys(problem for result in failed for problem in result.problems)
        raise RunFailedError(failed[0].exit_code, *problems)


def _results(
    run: Path,
    files: Sequence[PartedFile],
    options: PredictOptions | EmbedOptions,
    model: Mapping[str, Any],
    workers: Workers,
) -> Iterator[PartResult]:
    """Yield the result of each part, as soon as it is computed."""
    import ray.data

    from mbert_cli.ray.worker import ModelOptions, PartEmbedder, PartPredictor

    parts = [asdict(part) for file in files for part in file.parts]
    worker: Any = PartPredictor if isinstance(options, PredictOptions) else PartEmbedder
    rows = ray.data.from_items(parts, override_num_blocks=len(parts)).map(
        worker,
        fn_constructor_args=(ModelOptions(str(run), model, workers.cpus), options),
        concurrency=min(workers.count, len(parts)),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    for row in rows.iter_rows():
        yield PartResult(**json.loads(row["result"]))


def _report(file: PartedFile, results: Sequence[PartResult], console: Console) -> None:
    rows = sum(result.rows for result in results)
    console.info(f"wrote {file.output}: {counted(rows, 'row')} in {counted(len(file.parts), 'part')}")
    cut: dict[str, list[int]] = {}
    for result in results:
        for task, (longer, all_rows) in result.cut.items():
            before = cut.get(task, [0, 0])
            cut[task] = [before[0] + longer, before[1] + all_rows]
    notes = dict.fromkeys(note for result in results for note in result.notes)
    for note in [*notes, *filter(None, [truncation_note(cut, *results[0].limits)])]:
        console.info(f"{file.output}: {note}")


def _no_note(_: str) -> None:
    """Ignore the notes of `join_parts`."""
