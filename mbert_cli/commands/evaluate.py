"""`mbert evaluate`."""

import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mbert_cli.commands.options import (
    AsJson,
    BatchSize,
    Columns,
    Delimiter,
    Device,
    Encoder,
    Force,
    Kernels,
    Limit,
    Offline,
    OnBadRow,
    Precision,
    Quiet,
    Quoting,
    Run,
    StrictLength,
    go_offline,
    other_columns,
    split_pair,
)
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError
from mbert_cli.storage.output_folder import check_output_folder
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.reports.largest_errors import TopError


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
        list[str] | None, typer.Option("--task", "-t", metavar="TASK", help="Only this task; may be repeated.")
    ] = None,
    tune_thresholds: Annotated[
        Literal["f1", "accuracy", "balanced"] | None,
        typer.Option(
            "--tune-thresholds",
            metavar="SCORE",
            help="f1, accuracy or balanced: fit the threshold between two classes for it; save it in the model.",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Fit the temperature of the probabilities; save it in the model."),
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Reset thresholds to 0.5 and temperatures to 1.")] = False,
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
    device: Device = "auto",
    precision: Precision = "auto",
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
    """
    from mbert_cli.storage.run_folder import RunFolder

    go_offline(offline)
    files = dict(split_pair(pair, "--data TASK=FILE") for pair in data or [])
    fits = " and ".join(["--tune-thresholds"] * (tune_thresholds is not None) + ["--calibrate"] * calibrate)
    if fits and split != "dev":
        raise UsageError(f"{fits}: the recipe's dev files are fitted to, and nothing else; leave out --split {split}.")
    if fits and reset:
        raise UsageError(f"--reset and {fits} exclude each other.")

    from mbert_cli.reports.evaluation_folder import METRICS, write_evaluation
    from mbert_cli.storage.atomic import read_json, replace_folder

    if output is not None:
        check_output_folder(
            output, force, "mbert evaluate -o", lambda at: (at / METRICS).is_file() and "run" in read_json(at / METRICS)
        )

    from mbert_cli.commands.tables import error_tables, metrics_tables
    from mbert_cli.evaluation.evaluate import check_dev_files, run_outcomes
    from mbert_cli.evaluation.tune import check_fits, reset_decisions, threshold_hint, tune
    from mbert_cli.model.saved_model import write_decisions
    from mbert_cli.prediction.predictor import Predictor
    from mbert_cli.reports.figures import draw_or_say, write_figures
    from mbert_cli.reports.largest_errors import errors_of, write_top_errors

    console = Console(quiet)
    console.show_log()
    with RunFolder(run).model_locked() if fits or reset else nullcontext(run) as model_folder:
        predictor = Predictor(
            run, device=device, precision=precision, kernels=kernels, batch_size=batch_size, encoder=encoder
        )
        names = other_columns(columns, predictor.saved.section)
        predictor.read_files_with(names, quoting=quoting, delimiter=delimiter, on_bad_row=on_bad_row)
        if fits:
            check_dev_files(predictor, files, fits)
        check_fits(predictor, tasks or [], tune_thresholds, calibrate)
        if reset:  # saved now: the dev files may be elsewhere
            reset_decisions(predictor, tasks or [])
            write_decisions(model_folder, predictor.saved.model)
        outcomes = run_outcomes(predictor, split, files, tasks or [], limit, console, strict_length)
        fitted = tune(outcomes, tune_thresholds, calibrate, console)
        if fitted:
            write_decisions(model_folder, predictor.saved.model)
            console.info(f"saved what was fitted in {model_folder}")
    found = outcomes.evaluation()
    if fitted:
        found.metrics["fitted"] = fitted

    errors: dict[str, list[TopError]] = {}
    if most_errors:
        with tempfile.TemporaryDirectory() as at:
            write_evaluation(Path(at), found)
            errors = errors_of(Path(at), found.metrics, predictor.saved.section.tasks, most_errors)

    def write(at: Path) -> None:
        write_evaluation(at, found)
        write_top_errors(at, errors)
        write_figures(at, draw_or_say(at, RunFolder(run).metrics_file, console))

    if output is not None:
        replace_folder(output, write)
        console.info(f"wrote {output}")
    if as_json:
        listed = {task: [asdict(each) for each in own] for task, own in errors.items()}
        print_json({**found.metrics, "top_errors": listed} if most_errors else found.metrics)
    else:
        print_tables([*metrics_tables(found.metrics), *error_tables(errors)])
    hint = None if as_json else threshold_hint(found.metrics, run)
    for note in filter(None, (hint, outcomes.truncation.note())):
        console.info(note)
