"""The messages of a training run: its start, a line per epoch, and its end."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.errors import command_line, counted
from mbert_cli.machine.versions import versions
from mbert_cli.messages import one_line
from mbert_cli.metrics import describe_overall
from mbert_cli.recipe.ending import ending_warnings
from mbert_cli.recipe.sections import TrainingSection, as_spec
from mbert_cli.recipe.training_options import rate_warnings, unused_warnings
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.tables import FittedTable, new_table
from mbert_cli.terminal.throughput import duration
from mbert_cli.training.data_summary import TaskFacts
from mbert_cli.training.options import RunOptions
from mbert_cli.training.setup import TrainingSetup


def print_opening(setup: TrainingSetup, options: RunOptions) -> None:
    """Print the hardware, the recipe in short, the data of each task, and warnings."""
    console, hardware = options.console, options.hardware
    recipe, model, facts = setup.recipe, setup.learner.model, setup.facts
    machine, software = hardware.facts(), versions()
    total = sum(parameter.numel() for parameter in model.parameters())
    console.info(
        f"mbert {software['mbert-cli']} on {hardware.device}: {machine['precision']}, {machine['kernels']} kernels, "
        f"{machine['threads']} threads; torch {software['torch']}; seed {recipe.training.seed}"
    )
    adapters = " + ".join(each.kind for each in recipe.adapters) or "no adapters"
    console.info(
        f"{recipe.encoder.checkpoint}: {adapters}, {recipe.pooling.kind} pooling, {recipe.curriculum.kind} curriculum, "
        f"{recipe.loss_balancing.kind} loss; {total:,} parameters"
    )
    limits = LengthLimits.of(recipe.training.max_length, model.encoder.shape.max_positions, recipe.tasks)
    lines = [_facts_line(name, each) for name, each in facts.items()]
    console.show(_facts_table(facts), lines)
    for warning in [
        *rate_warnings(recipe),
        *unused_warnings(recipe),
        *ending_warnings(recipe, setup.phases.total_steps),
    ]:
        console.info(f"{warning}.")
    for name, each in facts.items():
        for warning in each.warnings(name, limits):
            console.info(f"task {name}: {warning}.")
    for warning in _balancing_warnings(setup):
        console.info(f"{warning}.")
    console.event(
        "start",
        {
            "recipe": as_spec(recipe),
            "hardware": machine,
            "versions": software,
            "parameters": total,
            "tasks": {name: asdict(each) for name, each in facts.items()},
        },
    )


def _balancing_warnings(setup: TrainingSetup) -> list[str]:
    """Return a warning if the loss balancing, or the `loss_weight` of a task, has no effect."""
    recipe = setup.recipe
    kind = recipe.loss_balancing.kind
    if not setup.phases.combine_losses():
        rule = f"under curriculum {recipe.curriculum.kind} every step of this run has one task only"
        return [] if kind == "total" else [f"loss_balancing {kind} has no effect: {rule}"]
    if setup.learner.balancing.cancels_factors:
        weighted = [f"tasks.{name}.loss_weight" for name, task in recipe.tasks.items() if task.loss_weight != 1]
        rule = (
            f"loss_balancing {kind} learns weights that cancel it; use total, or another balancing without such weights"
        )
        return [f"{name} has little effect: {rule}" for name in weighted[:1]]
    return []


def _facts_table(facts: Mapping[str, TaskFacts]) -> FittedTable:
    has_windows = any(each.in_windows is not None for each in facts.values())
    numbers = ("train", "dev", "batches", "tokens/row", "cut", *["in windows"] * has_windows, "bad rows")
    table = new_table("task", *((name, "right") for name in numbers), "labels")
    for name, each in facts.items():
        table.add_row(
            one_line(name),
            f"{each.train:,}",
            f"{each.dev:,}",
            f"{each.batches:,}",
            f"{each.tokens:.1f}",
            f"{each.cut:.1%}",
            *["-" if each.in_windows is None else f"{each.in_windows:.1%}"] * has_windows,
            f"{each.bad:,}",
            one_line(each.labels()),
        )
    return table


def _facts_line(name: str, facts: TaskFacts) -> str:
    bad = f", {counted(facts.bad, 'bad row')} skipped" if facts.bad else ""
    batches = f"{facts.batches:,} batch{'' if facts.batches == 1 else 'es'}"
    windows = ""
    if facts.in_windows is not None:
        windows = f", {facts.in_windows:.1%} in windows (at most {facts.most_windows})"
    return (
        f"{name}: {facts.train:,} train and {counted(facts.dev, 'dev row')}{bad}; {batches} of "
        f"{facts.tokens:.1f} tokens per row, {facts.cut:.1%} cut{windows}; {facts.labels()}"
    )


def print_round(console: Console, record: EpochRecord, training: TrainingSection, member: int | None = None) -> None:
    """Print the results of an epoch, or of another round.

    Args:
        console: where to print.
        record: the results.
        training: the settings of the run.
        member: number of the member, if members of an ensemble train at the same time.
    """
    losses = ", ".join(f"{task} {loss:.3f}" for task, loss in record.train_loss.items())
    parts = [f"train loss {losses}"] if losses else []
    if record.tasks:
        best = " (best)" if record.best else ""
        parts += [_dev_scores(record), f"overall {record.overall:.3f}{best}"]
    else:
        parts.append("not scored: select_after excludes this epoch")
    who = "" if member is None else f"member {member}, "
    where = f"epoch {record.of_epoch or record.epoch}/{training.epochs}"
    what = f"{who}{where}" if record.of_epoch is None else f"{who}{where}, step {record.step:,}"
    console.info(f"{what}: {'; '.join(parts)}; {record.seconds.train + record.seconds.dev:.0f} s", strong="(best)")
    seconds = record.seconds
    console.detail(
        f"  {counted(record.step, 'step')} so far; training {seconds.train:.1f} s, scoring {seconds.dev:.1f} s"
    )
    for task, metrics in record.tasks.items():
        numbers = " ".join(f"{name} {value:.4f}" for name, value in metrics.items() if isinstance(value, float))
        console.detail(f"  {task}: {numbers}")
    console.event("epoch", record.as_dict() if member is None else {"member": member, **record.as_dict()})


def print_member(console: Console, record: EpochRecord, members: int) -> None:
    """Print the results of the members of an ensemble that are trained so far, combined.

    Args:
        console: where to print.
        record: the results.
        members: number of members of the ensemble.
    """
    scores = f"{_dev_scores(record)}; overall {record.overall:.3f}"
    console.info(f"members 1 to {record.epoch} of {members} together: {scores}")
    console.event("member", record.as_dict())


def _dev_scores(record: EpochRecord) -> str:
    """Return the main metric of each task on its dev file."""
    main = {task: (metrics["main_metric"], metrics) for task, metrics in record.tasks.items()}
    return f"dev {', '.join(f'{task} {name} {metrics[name]:.3f}' for task, (name, metrics) in main.items())}"


def summary(record: EpochRecord, path: Path) -> str:
    """Return the closing line of a run: the model of which epoch or evaluation was kept, and where."""
    what = (
        f"ensemble of {record.epoch}" if record.phases == "ensemble" else f"model of {record.round_name} {record.epoch}"
    )
    return f"kept the {what} (overall {record.overall:.3f}) in {path / 'model'}"


def print_next_steps(console: Console, record: EpochRecord, path: Path, seconds: float) -> None:
    """Print what the overall score is, where the results are, and commands to use them.

    Args:
        console: where to print.
        record: results of the epoch that was kept.
        path: the run folder.
        seconds: duration of the command.
    """
    main = {task: metrics["main_metric"] for task, metrics in record.tasks.items()}
    console.info(describe_overall(main))
    scores = f"scores of every {record.round_name} in {path / 'metrics.jsonl'}"
    console.info(f"{duration(seconds)}; {scores}, figures in {path / 'figures'}")
    console.info(f"  look:     {command_line('report', path, '-o', 'report.html')}")
    console.info(f"  measure:  {command_line('evaluate', path)}")
    console.info(f"  predict:  {command_line('predict', path, 'YOUR.tsv', '-o', 'predicted.tsv')}")
