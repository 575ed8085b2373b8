"""Options that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mbert_cli.commands.completion import recipe_or_file
from mbert_cli.errors import UsageError
from mbert_cli.messages import nearest

if TYPE_CHECKING:
    from mbert_cli.recipe.sections import ModelSection

RecipeOrDemo = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe file, or the name of a shipped recipe. Default: demo.",
        autocompletion=recipe_or_file,
    ),
]
Settings = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides, such as training.epochs=3.")
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option("--precision", metavar="NAME", help="auto, fp32 or bf16.")]
PredictionPrecision = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="auto, fp32, bf16 or int8 (x86 CPUs only).")
]
Kernels = Annotated[
    str, typer.Option("--kernels", metavar="NAME", help="auto, torch or fused: implementation of the encoder's layers.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", "-b", metavar="N", min=1, help="Number of examples in a batch.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped or killed.")]
AllowDrift = Annotated[
    bool,
    typer.Option(
        "--allow-drift", help="With --resume: continue even if the recipe, data, hardware or versions have changed."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and estimate time, memory and disk; train nothing.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Seed of all random numbers.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Use at most N rows of each file, spread evenly over it."),
]
FirstRows = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Read only the first N rows.")]
Offline = Annotated[
    bool, typer.Option("--offline", help="Do not use the network; read Hub names and URLs from the local cache.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more details.")]
Force = Annotated[bool, typer.Option("--force", "-F", help="Replace existing output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
EventsAsJson = Annotated[
    bool, typer.Option("--json", help="Print events as JSON, one object per line: start, epoch, end.")
]
Quoting = Annotated[
    Literal["auto", "csv", "none"] | None,
    typer.Option("--quoting", help="none reads quotes as plain text. Default: as in the recipe, else auto."),
]
Delimiter = Annotated[
    Literal["auto", "tab", "comma", "semicolon", "pipe"] | None,
    typer.Option(
        "--delimiter",
        metavar="NAME",
        help="Delimiter of the input: auto, tab, comma, semicolon or pipe. Default: as in the recipe, else auto.",
    ),
]
OnBadRow = Annotated[
    Literal["error", "skip"] | None,
    typer.Option(
        "--on-bad-row", help="skip leaves bad rows out, and counts and lists them. Default: as in the recipe."
    ),
]
StrictLength = Annotated[
    bool,
    typer.Option(
        "--strict-length", help="Reject rows that are longer than the maximum length, instead of cutting them."
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="NAME=OTHER",
        help="Read column NAME of a task from OTHER if a file has no NAME. May be repeated.",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="DIR",
        help="Folder of the encoder, for a model that does not contain it. Default: as in training.",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="PART/PARTS",
        help="Only one part of the rows of each input, such as 1/4, 2/4, 3/4 or 4/4. mbert join joins the parts.",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="ray computes on the machines of a Ray cluster; see mbert guide scale."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="Ray cluster, such as auto. Default: RAY_ADDRESS, or this machine alone."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        max=1000,
        help="Runs at the same time; they share the cores and the GPUs. Default: 1; on Ray one for each GPU, or "
        "machine.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Number of processes on Ray. Default: one for each GPU, or machine."
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="N|0,2,3",
        help="Compute in N processes, each on its GPU if there are GPUs; or on the GPUs 0, 2 and 3.",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the folder of a saved model.")]


def go_offline(wanted: bool) -> None:
    """Disable the network for Hugging Face's libraries, if wanted."""
    if wanted:
        # huggingface_hub, which is imported later, reads this at import.
        os.environ["HF_HUB_OFFLINE"] = "1"


def recipe_and_settings(recipe: str | None, settings: list[str] | None) -> tuple[str | None, list[str]]:
    """Return the recipe and the overrides; if the recipe is left out, the first argument is an override."""
    words = list(settings or [])
    if recipe is not None and "=" in recipe and not Path(recipe).exists():
        return None, [recipe, *words]
    return recipe, words


def split_pair(text: str, form: str) -> tuple[str, str]:
    """Split an argument at its first equals sign.

    Args:
        text: the argument.
        form: the expected form, for the message.

    Raises:
        UsageError: there is no equals sign, or a side is empty.
    """
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UsageError(f"'{text}': must have the form {form}.")
    return key, value


def other_columns(columns: list[str] | None, section: "ModelSection") -> dict[str, str]:
    """Return the alternative names of columns from --columns.

    Args:
        columns: the arguments.
        section: the section of the model; its tasks have the columns.

    Raises:
        UsageError: an argument does not have the form NAME=OTHER, or no task has the column.
    """
    names = dict(split_pair(pair, "--columns NAME=OTHER") for pair in columns or [])
    known = {name for task in section.tasks.values() for name in task.column_names}
    for name, other in names.items():
        if name not in known:
            raise UsageError(f"--columns {name}={other}: no task has a column '{name}'{nearest(name, sorted(known))}")
    return names
