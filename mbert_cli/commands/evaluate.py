"""`mbert evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mbert_cli.commands.division import AGAIN, Division, connected, together
from mbert_cli.commands.options import (
    AsJson,
    BatchSize,
    Columns,
    Delimiter,
    Device,
    Devices,
    Encoder,
    Force,
    Kernels,
    Limit,
    Offline,
    OnBadRow,
    PredictionPrecision,
    Quiet,
    Quoting,
    Run,
    StrictLength,
    go_offline,
    other_columns,
    split_pair,
)
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.storage.output_folder import OutputFolder
from mbert_cli.terminal.console import Console

Criterion = Literal["f1", "accuracy", "balanced"]
"""The same as `calibration.Criterion`. An import of it would load NumPy and pydantic before every command."""

if TYPE_CHECKING:
    from mbert_cli.evaluation.evaluate_run import RunEvaluation


def evaluate(
    run: Run,
    split: Annotated[
        Literal["train", "dev", "test"], typer.Option("--split", help="The files to evaluate on.")
    ] = "dev",
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="TASK=FILE", help="Evaluate a task on this file. May be repeated."),
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", "-t", metavar="TASK", help="Evaluate only this task. May be repeated.")
    ] = None,
    tune_thresholds: Annotated[
        Criterion | None,
        typer.Option(
            "--tune-thresholds",
            metavar="SCORE",
            help="Fit the decision threshold of two-class tasks to maximise f1, accuracy or balanced accuracy, and "
            "save it in the model.",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Fit the temperature of the probabilities; save it in the model."),
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Reset thresholds to 0.5 and temperatures to 1.")] = False,
    accept_int8: Annotated[
        bool,
        typer.Option(
            "--accept-int8",
            help="With --precision int8: make int8 the default of mbert predict for this model, if no task loses more "
            "than .003 of its main metric on dev.",
        ),
    ] = False,
    most_errors: Annotated[
        int,
        typer.Option(
            "--top-errors", metavar="N", min=0, max=10_000, help="Also show the N largest errors of each task."
        ),
    ] = 0,
    columns: Columns = None,
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    on_bad_row: OnBadRow = None,
    strict_length: StrictLength = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write metrics, predictions and figures to this folder."),
    ] = None,
    force: Force = False,
    batch_size: BatchSize = None,
    devices: Devices = None,
    device: Device = "auto",
    precision: PredictionPrecision = "auto",
    kernels: Kernels = "auto",
    encoder: Encoder = None,
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a trained model: metrics, confusion matrices, predictions and figures.

    $ mbert evaluate runs/demo
    $ mbert evaluate runs/demo --tune-thresholds f1

    --tune-thresholds and --calibrate fit thresholds and temperatures to the dev files before the evaluation, and save
    them in the model, where all later commands use them. Weights do not change. f1 is the F1 score that the task
    reports: of the positive class for pairs, macro F1 otherwise. balanced is the mean of the recall of both classes.
    --reset removes what was fitted.

    With --precision int8, a table compares the scores with those in fp32. The comparison on dev is saved in the folder
    of the model. With --accept-int8, mbert predict uses int8 for this model until the model changes.

    --devices shares the rows among processes on this machine, as torchrun does; see `mbert guide scale`.
    """
    from mbert_cli.evaluation.options import EvaluationFiles, Fitting, check_can_accept_int8
    from mbert_cli.storage.int8_scores import accept

    go_offline(offline)
    console = Console(quiet)
    division = Division(devices, device)

    def prepare() -> tuple[EvaluationFiles, Fitting, OutputFolder | None]:
        division.check()
        others = dict(split_pair(pair, "--data TASK=FILE") for pair in data or [])
        division.check_data(others)
        files = EvaluationFiles(split, others, tasks or [], limit, strict_length)
        fitting = Fitting(tune_thresholds, calibrate, reset)
        fitting.check(files)
        if accept_int8:
            check_can_accept_int8(files, fitting, precision)
        folder = None if output is None else OutputFolder(output, force, "mbert evaluate -o", _is_evaluation).check()
        return files, fitting, folder

    if division.by == "--devices":
        prepare()
        division.launch(AGAIN)
        return
    with connected(device, AGAIN) as processes:
        with together(processes):
            files, fitting, folder = prepare()

        from mbert_cli.data.file_settings import check_names_in_files
        from mbert_cli.evaluation.evaluate_run import evaluate_run
        from mbert_cli.machine.process_group import ALONE
        from mbert_cli.prediction.predictor import Predictor

        processes = processes or ALONE
        if not processes.is_first:
            console = Console(quiet=True)
        console.show_log()

        def load(in_precision: str = precision) -> Predictor:
            predictor = Predictor(
                run, device=device, precision=in_precision, kernels=kernels, batch_size=batch_size, encoder=encoder
            )
            names = other_columns(columns, predictor.saved.section)
            predictor.read_files_with(names, quoting=quoting, delimiter=delimiter, on_bad_row=on_bad_row)
            section = predictor.saved.section
            check_names_in_files(section, files.of_tasks(section.tasks), names)
            return predictor

        result = evaluate_run(run, load, files, fitting, most_errors, console, processes, lambda: load("fp32"))
        if processes.is_first:
            if folder is not None:
                result.write(folder, console)
                console.info(f"wrote {output}")
            _show(result, most_errors > 0, as_json, console)
        with together(processes):
            if accept_int8 and processes.is_first:
                console.info(accept(run))


def _is_evaluation(folder: Path) -> bool:
    """Whether a folder is the output of this command."""
    from mbert_cli.reports.evaluation_folder import METRICS
    from mbert_cli.storage.atomic import read_json

    return (folder / METRICS).is_file() and "run" in read_json(folder / METRICS)


def _show(result: "RunEvaluation", with_errors: bool, as_json: bool, console: Console) -> None:
    """Print the metrics and the largest errors on stdout, and hints on stderr."""
    from mbert_cli.commands.tables import error_tables, metrics_tables
    from mbert_cli.evaluation.tune import threshold_hint

    metrics = result.evaluation.metrics
    if as_json:
        listed = {task: [asdict(each) for each in errors] for task, errors in result.errors.items()}
        print_json({**metrics, "top_errors": listed} if with_errors else metrics)
    else:
        print_tables([*metrics_tables(metrics), *error_tables(result.errors)])
    hint = None if as_json else threshold_hint(metrics, result.run)
    for note in filter(None, (hint, result.truncation_note)):
        console.info(note)
