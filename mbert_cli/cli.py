"""The commands. No torch at module level: `mbert --help` answers at once.

Data goes to stdout, talk to stderr. Exit codes: 0 done; 2 bad usage, recipe, data or checkpoint; 3 the run folder is in
use; 4 disk full or out of memory; 5 a loss is not finite; 130 and 143 stopped by a signal; 1 a fault of ours. A sweep
ends with that of the first run that failed.
"""

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from mbert_cli import __version__, stopping
from mbert_cli.errors import MbertError, RecipeError, ResourceError, RunInUseError, Stopped, UsageError
from mbert_cli.progress import Talk

if TYPE_CHECKING:
    from mbert_cli.partial_output import PartialOutput, Stream
    from mbert_cli.plan import Plan

app = typer.Typer(
    name="mbert",
    help="One BERT encoder, fine-tuned for many sentence tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(help="The recipes that come with mbert.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")

Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as training.epochs=3.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16.")]
Kernels = Annotated[str, typer.Option("--kernels", help="auto, torch or fused: what computes the encoder's layers.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", "-b", min=1, help="Examples of a batch.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Take N rows of each file at most, evenly spread.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network: hub names from the local cache only.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Force = Annotated[bool, typer.Option("--force", "-F", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the folder of a saved model.")]


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"mbert {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A recipe file, or a shipped recipe's name. Default: demo.")
    ] = None,
    settings: Settings = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder. Default: runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was stopped or killed.")] = False,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="Resume with another recipe, data, hardware or versions.")
    ] = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Everything random is a function of it.")] = None,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a model as a recipe says."""
    from mbert_cli.recipe import shipped_names
    from mbert_cli.run_folder import RunFolder

    talk = Talk(quiet)
    _go_offline(offline)
    recipe, chosen = _recipe_and_settings(recipe, settings)
    if batch_size is not None:
        chosen.append(f"training.batch_size={batch_size}")
    if seed is not None:
        chosen.append(f"training.seed={seed}")
    if resume and force:
        raise UsageError("--resume and --force exclude each other.")
    if allow_drift and not resume:
        raise UsageError("--allow-drift goes with --resume.")
    if recipe is None and resume and output is not None:
        recipe = str(output / "recipe.yaml")
    name = recipe or "demo"
    folder = RunFolder(output or Path("runs") / (name if name in shipped_names() else Path(name).stem))
    # The lock first: all that follows takes seconds, and a second run shall not wait for its refusal.
    with folder.locked(resume, force):
        from mbert_cli.compose import load_recipe
        from mbert_cli.hardware import choose
        from mbert_cli.training import epoch_summary, fit

        loaded = load_recipe(name, chosen)
        hardware = choose(device, precision, kernels)
        _tell_of_compiling(talk)
        best = fit(loaded, folder, hardware, talk, resume, limit, allow_drift)
    if as_json:
        typer.echo(json.dumps(best, indent=2))
    else:
        typer.echo(epoch_summary(best, folder.path))


@app.command()
def evaluate(
    run: Run,
    split: Annotated[
        Literal["train", "dev", "test"], typer.Option("--split", help="Which of the recipe's files.")
    ] = "dev",
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="TASK=FILE", help="A task's file, in place of the recipe's.")
    ] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", "-t", help="Only this task; may be repeated.")] = None,
    tune_thresholds: Annotated[
        Literal["f1", "accuracy", "balanced"] | None,
        typer.Option(
            "--tune-thresholds",
            help="Fit the threshold between two classes to dev, for this score; save it in the model.",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Fit a temperature for probabilities to dev; save it in the model."),
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Thresholds of .5 and temperatures of 1 again.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write metrics, predictions and figures to this folder.")
    ] = None,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a trained model: metrics, confusion matrices, predictions and figures.

    --tune-thresholds and --calibrate first fit to the dev files how outputs
    become predictions, and save it in the model: what is printed, and every
    later command, goes by it. No weight changes. f1 is the F1 that the task
    reports (of the positive class for pairs, macro otherwise); balanced is
    the mean of both classes' recall. --reset takes back what was fitted.
    """
    _go_offline(offline)
    files = dict(_split_pair(pair, "--data TASK=FILE") for pair in data or [])
    fits = " and ".join(["--tune-thresholds"] * (tune_thresholds is not None) + ["--calibrate"] * calibrate)
    if fits and (split != "dev" or files):
        other = "--data" if files else f"--split {split}"
        raise UsageError(f"{fits}: the recipe's dev files are fitted to, and nothing else; leave out {other}.")
    if fits and reset:
        raise UsageError(f"--reset and {fits} exclude each other.")

    from mbert_cli.commits import replace_folder
    from mbert_cli.evaluation import run_outcomes
    from mbert_cli.evaluation_files import write_evaluation
    from mbert_cli.figures import draw_or_say, write_figures
    from mbert_cli.prediction import Predictor
    from mbert_cli.run_folder import RunFolder
    from mbert_cli.saved_model import write_decisions
    from mbert_cli.tables import metrics_tables
    from mbert_cli.tuning import check_fits, lopsided, take_back, tune

    talk = Talk(quiet)
    if output is not None:
        _check_output_folder(output, force)
    _tell_of_compiling(talk)
    with RunFolder(run).model_locked() if fits or reset else nullcontext(run) as model_folder:
        predictor = Predictor(run, device=device, precision=precision, kernels=kernels, batch_size=batch_size)
        check_fits(predictor, tasks or [], tune_thresholds, calibrate)
        if reset:  # saved now: the dev files may be elsewhere
            take_back(predictor, tasks or [])
            write_decisions(model_folder, predictor.saved.model)
        outcomes = run_outcomes(predictor, split, files, tasks or [], limit, talk)
        fitted = tune(outcomes, tune_thresholds, calibrate, talk)
        if fitted:
            write_decisions(model_folder, predictor.saved.model)
            talk.say(f"saved what was fitted in {model_folder}")
    found = outcomes.evaluation()
    if fitted:
        found.metrics["fitted"] = fitted

    def write(at: Path) -> None:
        write_evaluation(at, found)
        write_figures(at, draw_or_say(at, RunFolder(run).metrics_file, talk))

    if output is not None:
        replace_folder(output, write)
        talk.say(f"wrote {output}")
    typer.echo(json.dumps(found.metrics, indent=2)) if as_json else _print(metrics_tables(found.metrics))
    if not as_json and (hint := lopsided(found.metrics, run)):
        talk.say(hint)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, finished or still training.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this TSV file as well.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs, and each with the published scores that its recipe names."""
    from mbert_cli.report_tables import report_table, write_report
    from mbert_cli.reporting import read_runs

    if output is not None:
        _check_output(output, force)
    found = read_runs(runs)
    if output is not None:
        with _replacing(output) as file:
            write_report(file, found)
    typer.echo(json.dumps([each.as_json() for each in found], indent=2)) if as_json else _print([report_table(found)])


@app.command()
def sweep(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="A plan file, or a shipped plan's name.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The sweep's folder. Default: sweeps/PLAN.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=1000, help="Runs at once; they share the cores.")] = 1,
    table: Annotated[bool, typer.Option("--table", help="Run nothing; print the table of what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run nothing; list the runs and their states.")] = False,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Replace runs begun with another recipe or other options.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train all rows of a table, each with several seeds, and print it.

    The same command run again goes on where it was stopped or killed, tries runs that failed again, and runs rows that
    were added to the plan.
    """
    from mbert_cli.plan import find_plan
    from mbert_cli.sweep import check_failures, run_plan
    from mbert_cli.sweep_figure import draw_scores_or_say
    from mbert_cli.sweep_folder import Options, SweepFolder
    from mbert_cli.sweep_results import read_results
    from mbert_cli.sweep_tables import runs_table, sweep_table, write_tables

    if table and dry_run:
        raise UsageError("--table and --dry-run exclude each other.")
    talk = Talk(quiet)
    file = find_plan(plan)
    folder = SweepFolder(output or Path("sweeps") / file.stem)
    folder.check_free()
    options = Options(device, precision, kernels, limit)
    planned = _read_plan(file, whole=dry_run)
    runs = folder.runs_of(planned)
    if dry_run:
        _print([runs_table(runs, planned.rows, options)])
        return
    if table:
        result = read_results(planned, runs)
        try:
            if folder.plan_file.is_file():
                with folder.locked():
                    write_tables(folder.path, result, draw_scores_or_say(result, talk))
        except RunInUseError:
            pass  # the sweep that is going on writes its table itself
        except UsageError as error:
            talk.say(str(error))  # it can be looked at nevertheless
    else:
        if not all(run.is_done() for run in runs):
            from mbert_cli.hardware import choose

            planned = _read_plan(file, whole=True)
            choose(device, precision, kernels)  # what is wrong with them is told once, not by every run
        with folder.locked():
            result = run_plan(planned, folder, options, talk, jobs, force, offline)
            write_tables(folder.path, result, draw_scores_or_say(result, talk))
    typer.echo(json.dumps(result.as_json(), indent=2)) if as_json else _print([sweep_table(result)])
    if not table:
        check_failures(result, folder)


@app.command()
def predict(
    run: Run,
    input_file: Annotated[str, typer.Argument(metavar="INPUT", help="A TSV, CSV or JSONL file; - is stdin.")],
    tasks: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="May be repeated. Default: all whose columns INPUT has.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="The output file; - is stdout.")] = "-",
    format_: Annotated[
        Literal["same", "cs224n"], typer.Option("--format", help="The input's own, or the course's submission file.")
    ] = "same",
    quoting: Annotated[Literal["csv", "none"], typer.Option("--quoting", help="none: quotes are plain text.")] = "csv",
    delimiter: Annotated[Literal["auto", "tab", "comma"], typer.Option("--delimiter", help="Of INPUT.")] = "auto",
    fold: Annotated[bool, typer.Option("--fold", help="Fold lora, ia3, bitfit, layer_norm into the weights.")] = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read the first N rows only.")] = None,
    quiet: Quiet = False,
) -> None:
    """Predict a file: every row and column in its order, with the predictions appended.

    An output file that is interrupted goes on where it was when the same command is run again.
    """
    from mbert_cli.data.table import Table

    talk = Talk(quiet)
    _go_offline(offline)
    if output != "-":
        _check_output(Path(output), force, input_file)
    with Table(input_file, quoting, delimiter) as table:
        from mbert_cli.prediction import Predictor, choose_tasks, origin_of, predict_cs224n, predict_table

        _tell_of_compiling(talk)
        predictor = Predictor(
            run, device=device, precision=precision, kernels=kernels, batch_size=batch_size, fold=fold
        )
        chosen = choose_tasks(predictor, table, tasks or [])
        if format_ == "cs224n" and len(chosen) != 1:
            raise UsageError(f"--format cs224n holds one task; name it with -t. Fitting here: {', '.join(chosen)}.")
        origin = None if output == "-" else origin_of(predictor, table, chosen, format_, limit)
        with _output(output, origin, force, talk) as out, talk.bar(f"predict {', '.join(chosen)}", limit) as bar:
            done = out.rows
            bar.advance(by=done)
            if format_ == "cs224n":
                pieces = predict_cs224n(predictor, table, chosen[0], out, limit, done)
            else:
                pieces = predict_table(predictor, table, chosen, out, limit, done)
            for count in pieces if not out.finished else ():
                out.commit(count)
                bar.advance(by=count - done)
                done = count
    talk.say(f"predicted {', '.join(chosen)} for {done} rows")


@app.command("count-params")
def count_params(
    source: Annotated[
        str | None, typer.Argument(metavar="[RECIPE or RUN]", help="A recipe, a shipped one's name, or a run folder.")
    ] = None,
    settings: Settings = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--compare", metavar="KINDS", help="Adapters side by side: pal,lora:rank=16,low_rank:budget=5%+top"
        ),
    ] = None,
    num_tasks: Annotated[
        int | None, typer.Option("--tasks", min=1, max=10_000, help="With --compare: for so many tasks.")
    ] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Count parameters by part and task, before any compute is spent.

    With --compare, several adapters side by side, on the encoder and for the tasks of RECIPE: BERT-base and the paper's
    three by default.
    """
    _go_offline(offline)
    from mbert_cli.compose import load_recipe
    from mbert_cli.parameters import compare, count
    from mbert_cli.tables import comparison_tables, count_tables

    source, chosen = _recipe_and_settings(source, settings)
    if num_tasks is not None and methods is None:
        raise UsageError("--tasks goes with --compare; without it, the recipe's tasks are counted.")
    name = source or ("demo" if methods is None else "paper/hybrid_low_rank_top")
    if (Path(name) / "recipe.yaml").is_file():
        name = str(Path(name) / "recipe.yaml")
    if methods is not None:
        compared = compare(name, chosen, methods, num_tasks)
        typer.echo(json.dumps(compared.as_json(), indent=2)) if as_json else _print(comparison_tables(compared))
        return
    counts = count(load_recipe(name, chosen))
    typer.echo(json.dumps(counts.as_json(), indent=2)) if as_json else _print(count_tables(counts))


@app.command()
def info(
    as_json: AsJson = False,
    warm_up: Annotated[
        bool, typer.Option("--warm-up", help="Compile the fused kernels now, not at the first training.")
    ] = False,
) -> None:
    """Print versions, devices, the precision and the kernels in use."""
    from mbert_cli.tables import key_values
    from mbert_cli.versions import facts

    found = facts()
    if warm_up:
        if found["kernels"] != "fused":
            raise UsageError(f"--warm-up: {found['kernels']}.")
        _tell_of_compiling(Talk())

        from mbert_cli.warm_up import compile_kernels

        compile_kernels()
    typer.echo(json.dumps(found, indent=2)) if as_json else _print([key_values(found)])


@recipes_app.command("ls")
def recipes_ls() -> None:
    """List the recipes: name and description; off a terminal, a tab between them."""
    from mbert_cli.recipe import description, shipped_names

    names = shipped_names()
    longest = max(len(name) for name in names)
    for name in names:
        shown = f"{name:<{longest}}  " if sys.stdout.isatty() else f"{name}\t"
        typer.echo(shown + description(name))


@recipes_app.command("cat")
def recipes_cat(
    name: Annotated[str, typer.Argument(help="A name that `mbert recipes ls` lists, or a recipe file.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With what it extends merged in and every default spelled out.")
    ] = False,
) -> None:
    """Print a recipe."""
    from mbert_cli.recipe import find

    if resolved:
        from mbert_cli.compose import load_recipe

        text = load_recipe(name).to_yaml()
    else:
        text = find(name).read_text(encoding="utf-8")
    typer.echo(text, nl=False)


@recipes_app.command("cp")
def recipes_cp(
    name: Annotated[str, typer.Argument(help="A name that `mbert recipes ls` lists, or a recipe file.")],
    target: Annotated[Path | None, typer.Argument(help="The new file. Default: NAME.yaml, here.")] = None,
    force: Force = False,
) -> None:
    """Copy a recipe, to be edited: in one file, with what it extends merged in; of comments the first is kept."""
    from mbert_cli.recipe import find, merged_text

    source = find(name)
    path = target or Path(source.name)
    _check_output(path, force)
    with _replacing(path) as file:
        file.write(merged_text(source))
    Talk().say(f"wrote {path}; train it with: mbert train {path}")


@recipes_app.command("schema")
def recipes_schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them."""
    from mbert_cli.recipe_schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


def main() -> None:
    """Run the command line; turn errors that a user can mend into one line and an exit code."""
    # PyTorch's threads wait for each other by spinning. Where another process wants the cores, that is ruinous: steps
    # of half a second were seen to take fourteen. A short spin costs nothing on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    stopping.listen()
    odd = next((word for word in sys.argv if not _is_utf_8(word)), None)
    if odd is not None:
        _fail(f"{odd!r}: is not UTF-8; rename the file or the folder.", UsageError.exit_code)
    try:
        app(standalone_mode=True)
    except MbertError as error:
        _fail("\n".join(error.problems), error.exit_code)
    except Stopped as stop:
        _fail(str(stop), stop.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except Exception as error:
        if hidden := stopping.stopped_by(error):
            _fail(str(hidden), hidden.exit_code)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            _fail(f"{str(error.filename)[:80]}...: is too long a name for the disk; choose a shorter one.", 2)
        from mbert_cli.hardware import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _fail("out of memory; lower --batch-size.", ResourceError.exit_code)


def _is_utf_8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # what the system handed over as other bytes
        return False
    return True


def _go_offline(wanted: bool) -> None:
    if wanted:
        # Read when huggingface_hub is imported, which is later.
        os.environ["HF_HUB_OFFLINE"] = "1"


def _tell_of_compiling(talk: Talk) -> None:
    from mbert_cli.encoder import kernels

    kernels.tell_of_compiling = talk.say


def _fail(message: str, code: int) -> None:
    typer.echo(message, err=True)
    raise SystemExit(code)


def _recipe_and_settings(recipe: str | None, settings: list[str] | None) -> tuple[str | None, list[str]]:
    """Split the words: the first one may be an override already, where the recipe is left out."""
    words = list(settings or [])
    if recipe is not None and "=" in recipe and not Path(recipe).exists():
        return None, [recipe, *words]
    return recipe, words


def _read_plan(file: Path, whole: bool) -> "Plan":
    """Read a plan; its components' options and its data's paths are checked only where that is worth loading torch."""
    from mbert_cli.plan import read_plan

    if not whole:
        try:
            return read_plan(file, lambda *_: [])
        except RecipeError:
            pass  # all that is wrong is told at once
    from mbert_cli.compose import problems
    from mbert_cli.training_data import check_recipe

    return read_plan(file, problems, check_recipe)


def _split_pair(text: str, form: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UsageError(f"'{text}': must read {form}.")
    return key, value


def _check_output(path: Path, force: bool, input_file: str | None = None) -> None:
    from mbert_cli.partial_output import partial_folder

    if input_file not in (None, "-") and path.exists() and path.samefile(Path(str(input_file))):
        raise UsageError(f"{path}: is the input; choose another output.")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it.")
    if path.is_symlink():
        raise UsageError(f"{path}: is a symbolic link; name what it points to.")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no regular file; write to - and redirect that.")
    # Pieces of a prediction of this file: `partial_output` knows whether the output is theirs.
    goes_on = input_file is not None and os.path.isfile(input_file) and partial_folder(path).is_dir()
    if path.exists() and not force and not goes_on:
        raise UsageError(f"{path}: exists; replace it with --force, or choose another output.")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first.")


def _check_output_folder(path: Path, force: bool) -> None:
    """Check that a folder may be written; one is replaced only if all in it was written by `mbert evaluate -o`."""
    from mbert_cli.commits import holds_only_what_was_committed, read_json
    from mbert_cli.evaluation_files import METRICS

    parent = path.resolve().parent
    if os.path.exists(path) and not path.is_dir():
        raise UsageError(f"{path}: is a file; name a folder.")
    if not parent.is_dir():
        raise UsageError(f"{path}: there is no folder {parent}; make it first.")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{path}: nothing can be written to {parent}; choose another place.")
    if path.is_dir() and any(path.iterdir()):
        ours = (path / METRICS).is_file() and holds_only_what_was_committed(path) and "run" in read_json(path / METRICS)
        if not ours:
            raise UsageError(f"{path}: holds files that mbert evaluate -o did not write; choose another folder.")
        if not force:
            raise UsageError(f"{path}: exists; replace it with --force, or choose another folder.")


@contextmanager
def _output(
    output: str, origin: Mapping[str, Any] | None, force: bool, talk: Talk
) -> Iterator["PartialOutput | Stream"]:
    """Open the output of a prediction: in pieces that survive, where both input and output are files."""
    from mbert_cli.partial_output import Stream, partial_output

    if output == "-":
        sys.stdout.reconfigure(encoding="utf-8", newline="\n") if hasattr(sys.stdout, "reconfigure") else None
        yield Stream(sys.stdout)
        sys.stdout.flush()
    elif origin is None:
        talk.say(f"{output}: cannot be gone on with if it is interrupted, for the input can be read once only.")
        with _replacing(Path(output)) as file:
            yield Stream(file)
    else:
        with partial_output(Path(output), origin, force) as out:
            if out.rows and not out.finished:
                talk.say(f"{output}: going on after {out.rows} rows that were predicted before.")
            yield out


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """Write a file beside its place and rename it when it is whole: a failure leaves what was there."""
    from mbert_cli.commits import put_in_place
    from mbert_cli.disk import disk_errors

    with disk_errors(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            put_in_place(Path(name), path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _print(tables: list[Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    # Off a terminal nothing is cut to a width that nobody chose.
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    for table in tables:
        console.print(table)


if __name__ == "__main__":
    main()
