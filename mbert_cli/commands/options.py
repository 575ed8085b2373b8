"""Options that several commands share, and what they do."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mbert_cli.errors import UsageError
from mbert_cli.messages import nearest

if TYPE_CHECKING:
    from mbert_cli.recipe.sections import ModelSection

Settings = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides, such as training.epochs=3.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16.")]
Kernels = Annotated[str, typer.Option("--kernels", help="auto, torch or fused: what computes the encoder's layers.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", "-b", min=1, help="Examples of a batch.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Take N rows of each file at most, evenly spread.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network: hub names from the local cache only.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
Force = Annotated[bool, typer.Option("--force", "-F", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]
Quoting = Annotated[
    Literal["auto", "csv", "none"] | None,
    typer.Option("--quoting", help="none: quotes are plain text. Default: as the task's files are read, else auto."),
]
Delimiter = Annotated[
    Literal["auto", "tab", "comma", "semicolon", "pipe"] | None,
    typer.Option("--delimiter", help="Of the file. Default: as the task's files are read, else auto."),
]
OnBadRow = Annotated[
    Literal["error", "skip"] | None,
    typer.Option("--on-bad-row", help="skip leaves bad rows out, counted and listed. Default: as the task says."),
]
StrictLength = Annotated[
    bool,
    typer.Option("--strict-length", help="Refuse a row that is longer than the model reads, in place of cutting it."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", metavar="NAME=OTHER", help="Read a task's column NAME in OTHER. May be repeated."),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="DIR",
        help="Where the encoder of a model is that keeps none itself. Default: where it was.",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the folder of a saved model.")]


def go_offline(wanted: bool) -> None:
    """Keep Hugging Face's libraries off the network, if wanted."""
    if wanted:
        # Read when huggingface_hub is imported, which is later.
        os.environ["HF_HUB_OFFLINE"] = "1"


def recipe_and_settings(recipe: str | None, settings: list[str] | None) -> tuple[str | None, list[str]]:
    """Split the words: the first one may be an override already, where the recipe is left out."""
    words = list(settings or [])
    if recipe is not None and "=" in recipe and not Path(recipe).exists():
        return None, [recipe, *words]
    return recipe, words


def default_folder(recipe: str) -> Path:
    """Return where a recipe's run is kept, unless somebody says otherwise."""
    from mbert_cli.recipe.shipped import shipped_names

    return Path("runs") / (recipe if recipe in shipped_names() else Path(recipe).stem)


def split_pair(text: str, form: str) -> tuple[str, str]:
    """Split what the user wrote at its first equals sign.

    Args:
        text: what was written.
        form: how it should read, for the message.

    Raises:
        UsageError: there is nothing on one of the sides.
    """
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UsageError(f"'{text}': must read {form}.")
    return key, value


def other_columns(columns: list[str] | None, section: "ModelSection") -> dict[str, str]:
    """Return the other names of columns that --columns gives.

    Args:
        columns: what was written.
        section: of the model, whose tasks have the columns.

    Raises:
        UsageError: a word does not read NAME=OTHER, or no task has the column.
    """
    found = dict(split_pair(pair, "--columns NAME=OTHER") for pair in columns or [])
    known = {name for task in section.tasks.values() for name in task.column_names}
    for name, other in found.items():
        if name not in known:
            raise UsageError(f"--columns {name}={other}: no task has a column '{name}'{nearest(name, sorted(known))}")
    return found
