"""`mbert export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mbert_cli.commands.options import Encoder, Force, Offline, Quiet, Run, go_offline
from mbert_cli.storage.output_folder import check_output_folder
from mbert_cli.terminal.console import Console


def export(
    run: Run,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    format_: Annotated[Literal["onnx"], typer.Option("--format", help="The file format.")] = "onnx",  # noqa: ARG001
    tasks: Annotated[
        list[str] | None, typer.Option("--task", "-t", metavar="TASK", help="Export only this task. May be repeated.")
    ] = None,
    force: Force = False,
    encoder: Encoder = None,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Export a model for programs that use neither mbert nor PyTorch.

    $ mbert export runs/demo --format onnx -o exported
    $ mbert export runs/demo -t sentiment -o exported

    Each task becomes one ONNX graph in fp32. The folder also contains the files of the tokenizer, and config.json with
    the inputs, labels, thresholds and the maximum number of tokens. Requires the extra [onnx].
    """
    from mbert_cli.storage.atomic import read_json

    go_offline(offline)
    check_output_folder(
        output, force, "mbert export", lambda at: read_json(at / "config.json").get("format") == "mbert-onnx"
    )

    from mbert_cli.export.onnx import export_onnx
    from mbert_cli.model.saved_model import read_model
    from mbert_cli.storage.atomic import replace_folder

    console = Console(quiet)
    saved = read_model(run, encoder)
    for task in tasks or ():
        saved.task(task)
    chosen = list(dict.fromkeys(tasks or saved.model.task_names))
    with console.status(f"exporting {', '.join(chosen)}"):
        replace_folder(output, lambda at: export_onnx(saved, chosen, at))
    files = [*(f"{task}.onnx" for task in chosen), "tokenizer.json", "tokenizer_config.json", "config.json"]
    console.info(f"wrote {output}: {', '.join(files)}; texts are cut at {saved.tokenizer.max_length} tokens")
    for task in chosen:
        if task in saved.limits.windows:
            console.info(
                f"task {task}: mbert predict reads longer texts in windows, a graph does not; its predictions for them "
                "differ."
            )
