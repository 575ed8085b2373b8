"""The text of a new recipe."""

from collections.abc import Sequence
from pathlib import Path

from mbert_cli.authoring.new_encoder import NewEncoder
from mbert_cli.authoring.task_files import TaskFiles
from mbert_cli.authoring.text_lengths import long_text_remarks, max_length_of
from mbert_cli.errors import UsageError
from mbert_cli.recipe.limits import MAX_BYTES
from mbert_cli.recipe.yaml_text import dump

_COMMENT = """\
# Written by `mbert init`, which guessed columns, labels and heads: read `tasks`, and correct what is wrong.
# `mbert train FILE` trains it; `mbert recipes schema` lists everything that a recipe can contain.
"""


def recipe_text(groups: Sequence[TaskFiles], folder: Path, encoder: NewEncoder) -> str:
    """Return a recipe that trains the tasks of some files.

    Args:
        groups: the files and their tasks.
        folder: folder of the recipe; paths in the recipe are relative to it.
        encoder: the encoder.

    Raises:
        UsageError: the recipe would be larger than a recipe may be.
    """
    max_length = max_length_of(groups, encoder)
    sections = {name: section for files in groups for name, section in files.sections(folder).items()}
    several = len(sections) > 1
    recipe = {
        "encoder": {"checkpoint": encoder.checkpoint},
        "adapters": [{"kind": "low_rank", "rank": 64}] if several else [],
        "pooling": {"kind": "mean"},
        "tasks": sections,
        "loss_balancing": {"kind": "total"},
        "curriculum": {"kind": "square_root" if several else "proportional"},
        "training": {
            "epochs": 4,
            "batch_size": 32,
            "learning_rate": encoder.learning_rate,
            **({"adapter_learning_rate": 3e-4} if several else {}),
            "head_learning_rate": 1e-3,
            "schedule": "linear",
            "max_length": max_length,
        },
    }
    remarks = "".join(f"# {line}\n" for line in long_text_remarks(groups, max_length))
    text = f"{_COMMENT}{remarks}{dump(recipe, compact=True)}"
    if len(text.encode()) > MAX_BYTES:
        raise UsageError(
            "the recipe would be larger than 1 MiB, because there are too many classes; choose other labels with "
            "--label."
        )
    return text
