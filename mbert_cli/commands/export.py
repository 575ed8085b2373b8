"""`mbert export`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mbert_cli.commands.options import Encoder, Force, Offline, Quiet, Run, go_offline
from mbert_cli.errors import UsageError
from mbert_cli.storage.output_folder import OutputFolder
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.model.saved_model import SavedModel


def export(
    run: Run,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    format_: Annotated[
        Literal["onnx", "transformers", "sentence-transformers", "peft"],
        typer.Option("--format", metavar="FORMAT", help="onnx, transformers, sentence-transformers or peft."),
    ] = "onnx",
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", metavar="TASK", help="Export only this task. With onnx, may be repeated."),
    ] = None,
    no_head: Annotated[
        bool,
        typer.Option("--no-head", help="Leave out the head: export the encoder of the task. Not for onnx and peft."),
    ] = False,
    force: Force = False,
    encoder: Encoder = None,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Export a model for other programs, in fp32.

    $ mbert export runs/demo --format onnx -o exported
    $ mbert export runs/a --format transformers -o mood

    onnx: one graph for each task, of any model; it runs without mbert and PyTorch. Requires the extra [onnx].

    transformers: one task, for AutoModelForSequenceClassification and AutoModel. Adapters are folded into the weights.

    sentence-transformers: one task, for SentenceTransformer; for CrossEncoder if it reads pairs as one sequence.

    peft: the adapter of one task, if it is lora, ia3 or prefix, for PeftModel on top of the encoder.

    If a format cannot express a task, the command prints the reason and writes nothing. See `mbert guide export`.
    """
    go_offline(offline)
    if no_head and format_ in ("onnx", "peft"):
        reason = (
            "--format onnx always exports the head" if format_ == "onnx" else "--format peft never exports the head"
        )
        raise UsageError(f"--no-head: {reason}; remove it, or use --format transformers.")
    folder = OutputFolder(output, force, "mbert export", _is_export).check()

    from mbert_cli.model.saved_model import read_model

    console = Console(quiet)
    saved = read_model(run, encoder)
    for task in tasks or ():
        saved.task(task)
    if format_ == "onnx":
        _export_onnx(saved, list(dict.fromkeys(tasks or saved.model.task_names)), folder, console)
    else:
        task = _single_task(tasks or saved.model.task_names, format_)
        if format_ == "peft":
            _export_peft(saved, task, folder, console, (run, encoder))
        else:
            _export_one(saved, format_, task, folder, console, not no_head)


def _is_export(folder: Path) -> bool:
    """Whether `mbert export` has written a folder."""
    from mbert_cli.storage.atomic import read_json

    files = [folder / name for name in ("mbert.json", "config.json") if (folder / name).is_file()]
    return any(str(read_json(file).get("format", "")).startswith("mbert-") for file in files)


def _single_task(tasks: "list[str] | tuple[str, ...]", format_: str) -> str:
    """Return the only task.

    Raises:
        UsageError: there are several.
    """
    names = list(dict.fromkeys(tasks))
    if len(names) > 1:
        raise UsageError(f"--format {format_} exports one task; choose it with --task: {', '.join(names)}.")
    return names[0]


def _write(what: str, output: OutputFolder, write: Callable[[Path], None], console: Console) -> None:
    with console.status(f"exporting {what}"):
        output.write(write)


def _export_onnx(saved: "SavedModel", tasks: list[str], output: OutputFolder, console: Console) -> None:
    from mbert_cli.export.onnx import export_onnx

    _write(", ".join(tasks), output, lambda at: export_onnx(saved, tasks, at), console)
    files = [*(f"{task}.onnx" for task in tasks), "tokenizer.json", "tokenizer_config.json", "config.json"]
    console.info(f"wrote {output.path}: {', '.join(files)}; texts are cut at {saved.tokenizer.max_length} tokens")
    for task in tasks:
        if task in saved.limits.windows:
            console.info(
                f"task {task}: mbert predict reads longer texts in windows, but the graph does not, so predictions for "
                "longer texts differ."
            )


def _export_one(
    saved: "SavedModel", format_: str, task: str, output: OutputFolder, console: Console, head: bool
) -> None:
    from mbert_cli.export.export_card import differences
    from mbert_cli.export.sentence_transformers import export_sentence_transformers
    from mbert_cli.export.transformers import export_transformers

    write = {"transformers": export_transformers, "sentence-transformers": export_sentence_transformers}[format_]
    opened_by = []
    _write(task, output, lambda at: opened_by.append(write(saved, task, at, head)), console)
    console.info(f"wrote {output.path}; open it with {opened_by[0]} of {format_}")
    for note in differences(saved, task) if head else ():
        console.info(f"task {task}: {note}")


def _export_peft(
    saved: "SavedModel", task: str, output: OutputFolder, console: Console, source: tuple[Path, str | None]
) -> None:
    """Write an adapter. `source` is the run, and the folder of its encoder if the encoder was moved."""
    from mbert_cli.export.peft import base_of, export_peft
    from mbert_cli.model.saved_parts import ModelFiles

    run, encoder = source
    base, sha256 = base_of(run, saved, encoder), ModelFiles.of(run, with_tasks=False).encoder_hashes[0]
    _write(task, output, lambda at: export_peft(saved, task, at, base, sha256), console)
    console.info(f"wrote {output.path}; open it with PeftModel of peft, on top of the encoder {base}")
