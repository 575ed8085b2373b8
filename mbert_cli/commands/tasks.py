"""`mbert tasks ls`, `export`, `import`, `remove` and `rename`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mbert_cli.commands.help_text import Command, Group, help_text, summary
from mbert_cli.commands.options import AsJson, Force, Offline, Quiet, Run, go_offline
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError, counted
from mbert_cli.storage.output_folder import (
    OutputFolder,
    check_not_the_working_folder,
)
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.model.saved_parts import ModelFiles, TaskFiles

app = typer.Typer(cls=Group, help="List, copy, add, rename and remove the tasks of a model.", no_args_is_help=True)

Task = Annotated[str, typer.Argument(metavar="TASK", help="The name of a task of the model.")]
NewModel = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write the new model to this folder; RUN does not change."),
]


def tasks_ls(run: Run, as_json: AsJson = False) -> None:
    """List the tasks of a model, with their adapters, parameters and scores.

    $ mbert tasks ls runs/demo
    $ mbert tasks ls runs/demo --json
    """
    from mbert_cli.model.saved_parts import ModelFiles

    model = ModelFiles.of(run, with_tasks=False)
    tasks = {name: model.task(name) for name in model.task_names}
    rows = [_row(name, task) for name, task in tasks.items()]
    if as_json:
        for row in rows:
            print_json({**row, "encoder_sha256": model.encoder_hashes})
        return
    from mbert_cli.terminal.tables import new_table

    table = new_table("task", "text", "head", "adapters", ("parameters", "right"), "score on dev", "trained")
    for row in rows:
        score = "-" if row["score"] is None else f"{row['metric']} {row['score']:.3f}"
        adapters = " + ".join(each["kind"] for each in row["adapters"]) or "none"
        trained = "separately" if row["trained_separately"] else "with the model"
        texts = ", ".join(row["text"])
        table.add_row(row["task"], texts, row["head"], adapters, f"{row['parameters']:,}", score, trained)
    print_tables([table])


def _row(name: str, task: "TaskFiles") -> dict[str, Any]:
    """Return what `mbert tasks ls --json` prints about a task."""
    metric = task.metrics.get("main_metric")
    return {
        "task": name,
        "text": task.section["text"],
        "head": task.section["head"]["kind"],
        "adapters": task.adapters,
        "parameters": task.num_parameters(),
        "bytes": sum(file.stat().st_size for file in task.files),
        "metric": metric,
        "score": None if metric is None else task.metrics[metric],
        "trained_separately": task.trained_separately,
    }


def tasks_export(
    run: Run,
    task: Task,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The task folder to write.")],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a task to a folder of its own: adapters, head and settings, without the encoder.

    $ mbert tasks export runs/demo mood -o mood-task
    $ mbert tasks export runs/demo mood -o mood-task --force

    mbert tasks import adds the task to another model with the same encoder. mbert push uploads the folder to the Hub.
    """
    from mbert_cli.model.saved_parts import ModelFiles
    from mbert_cli.model.task_folder import is_task_folder, write_task_folder

    folder = OutputFolder(output, force, "mbert tasks export", is_task_folder).check()
    model = ModelFiles.of(run)
    model.check_task(task)
    folder.write(lambda at: write_task_folder(at, model, task))
    Console(quiet).info(f"wrote {output}: task {task} of {run}, without the encoder")


def tasks_import(
    run: Run,
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Task folders, or their names on the Hub: hub:OWNER/NAME.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the new model.")],
    from_: Annotated[
        Literal["mbert", "peft"], typer.Option("--from", help="peft: DIR is a PEFT adapter for a task of RUN.")
    ] = "mbert",
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", metavar="TASK", help="With --from peft: the task that gets the adapter."),
    ] = None,
    force: Force = False,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Add tasks from task folders to a model with the same encoder.

    $ mbert tasks import runs/demo mood-task -o both
    $ mbert tasks import runs/demo hub:me/mood -o both

    The model must have the same encoder and tokenizer (compared by SHA-256), pooling and maximum number of tokens. The
    predictions of each task stay the same. RUN does not change.

    With --from peft, no task is added: the adapter in DIR replaces those of a task. See `mbert guide export`.
    """
    from mbert_cli.model.edit_tasks import all_tasks
    from mbert_cli.model.saved_parts import ModelFiles
    from mbert_cli.model.task_folder import read_task_folder

    go_offline(offline)
    model = ModelFiles.of(run)
    if from_ == "peft":
        _import_peft(model, folders, task, output, force, Console(quiet))
        return
    if task is not None:
        raise UsageError(f"-t {task}: requires --from peft; remove it, because a task folder contains the task's name.")
    tasks = all_tasks(model)
    sources = dict.fromkeys(tasks, str(run))
    for folder in folders:
        new = read_task_folder(folder)
        new.check_fits(model)
        if new.name in sources:
            raise UsageError(
                f"{folder}: {sources[new.name]} already has a task '{new.name}'; rename one of them with mbert tasks "
                "rename, and export it again."
            )
        tasks[new.name], sources[new.name] = new.task, folder
    _write(model, tasks, output, force, "mbert tasks import")
    Console(quiet).info(f"wrote {output}: {counted(len(tasks), 'task')}: {', '.join(tasks)}")


def _import_peft(
    model: "ModelFiles", folders: list[str], task: str | None, output: Path, force: bool, console: Console
) -> None:
    """Write a model in which a PEFT adapter replaces the adapters of one task."""
    from tempfile import TemporaryDirectory

    from mbert_cli.export.peft_import import task_of, with_adapter
    from mbert_cli.model.edit_tasks import all_tasks

    if len(folders) > 1:
        raise UsageError(f"--from peft reads one folder, but got {len(folders)}; import them one after another.")
    folder = Path(folders[0])
    name = task_of(folder, model, task)
    with TemporaryDirectory() as temporary:
        changed, ignored = with_adapter(model, name, folder, Path(temporary) / "task.safetensors")
        _write(model, {**all_tasks(model), name: changed}, output, force, "mbert tasks import")
    for each in ignored:
        console.info(f"{folder}: skipped {each}, which is not part of the adapter; task {name} keeps its head")
    console.info(f"wrote {output}: task {name} has the adapter from {folder}; score it with mbert evaluate {output}")


def tasks_remove(run: Run, task: Task, output: NewModel = None, force: Force = False, quiet: Quiet = False) -> None:
    """Remove a task from a model.

    $ mbert tasks remove runs/demo near
    $ mbert tasks remove runs/demo near -o without-near

    Without -o, the model in RUN is replaced; the history of the run stays.
    """

    def without(tasks: dict[str, "TaskFiles"]) -> dict[str, "TaskFiles"]:
        if len(tasks) == 1:
            raise UsageError(f"{run}: '{task}' is its only task; add another task first, with mbert add-task.")
        return {name: each for name, each in tasks.items() if name != task}

    place = _edit(run, task, without, output, force, "mbert tasks remove")
    Console(quiet).info(f"removed task {task}: {place}")


def tasks_rename(
    run: Run,
    task: Task,
    name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new name.")],
    output: NewModel = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Rename a task of a model.

    $ mbert tasks rename runs/demo mood feeling
    $ mbert tasks rename runs/demo mood feeling -o renamed

    Without -o, the model in RUN is replaced; the history of the run keeps the old name.
    """
    from mbert_cli.recipe.reader import TASK_NAME, is_task_name

    if not is_task_name(name):
        raise UsageError(f"'{name}': must be {TASK_NAME}.")

    def renamed(tasks: dict[str, "TaskFiles"]) -> dict[str, "TaskFiles"]:
        if name in tasks:
            raise UsageError(f"{run}: already has a task '{name}'; choose another name.")
        return {name if old == task else old: files for old, files in tasks.items()}

    place = _edit(run, task, renamed, output, force, "mbert tasks rename")
    Console(quiet).info(f"renamed task {task} to {name}: {place}")


_Change = Callable[[dict[str, "TaskFiles"]], dict[str, "TaskFiles"]]


def _edit(run: Path, task: str, change: _Change, output: Path | None, force: bool, command: str) -> Path:
    """Change the tasks of a model; return the folder of the result.

    Args:
        run: the model.
        task: a task that the model must have.
        change: receives the tasks of the model, and returns those of the new model.
        output: the folder of the new model; None to replace the model in `run`.
        force: replace an existing folder.
        command: the command, for messages.
    """
    from mbert_cli.model.edit_tasks import all_tasks, write_with_tasks
    from mbert_cli.model.saved_parts import ModelFiles
    from mbert_cli.storage.atomic import commit_folder
    from mbert_cli.storage.model_folder import model_place
    from mbert_cli.storage.run_lock import model_locked

    if output is not None:
        model = ModelFiles.of(run)
        model.check_task(task)
        _write(model, change(all_tasks(model)), output, force, command)
        return output
    check_not_the_working_folder(model_place(run), "go to another folder, or use -o")
    with model_locked(run):
        model = ModelFiles.of(run)
        model.check_task(task)
        tasks = change(all_tasks(model))
        commit_folder(model_place(run), lambda at: write_with_tasks(at, model, tasks), [model.folder])
    return run


def _write(model: "ModelFiles", tasks: "Mapping[str, TaskFiles]", output: Path, force: bool, command: str) -> None:
    """Write a model with the given tasks to a new folder. Weights equal to those of `model` become hard links."""
    from mbert_cli.model.edit_tasks import write_with_tasks
    from mbert_cli.storage.atomic import committed
    from mbert_cli.storage.model_folder import is_model_folder

    if committed(output) is not None and output.resolve() == model.folder.resolve():
        raise UsageError(f"{output}: is the model itself; choose another -o.")
    folder = OutputFolder(output, force, command, is_model_folder).check()
    folder.write(lambda at: write_with_tasks(at, model, tasks), [model.folder])


_COMMANDS: dict[str, Callable[..., None]] = {
    "ls": tasks_ls,
    "export": tasks_export,
    "import": tasks_import,
    "remove": tasks_remove,
    "rename": tasks_rename,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=Command, help=help_text(_command), short_help=summary(_command))(_command)
