"""The folder that `mbert compare -o` writes.

comparison.json        what `mbert compare --json` prints
comparison.html        a page
TASK_differences.tsv   for each row whose predictions differ: its line in the data file, true label, both predictions,
                       the better run, and the texts

Must not import torch: fast start-up.
"""

import json
from pathlib import Path

from mbert_cli.reports.differing_rows import write_differing_rows
from mbert_cli.reports.pair_comparison import Comparison
from mbert_cli.reports.pair_page import pair_page
from mbert_cli.storage.output_folder import OutputFolder

COMPARISON = "comparison.json"
PAGE = "comparison.html"


def write_comparison(folder: OutputFolder, comparison: Comparison) -> None:
    """Write a comparison to a folder, which replaces an existing one.

    Raises:
        ResourceError: the disk is full.
        UsageError: the folder cannot be written to, or must not be replaced.
    """

    def write(at: Path) -> None:
        text = json.dumps(comparison.as_json(), indent=2, ensure_ascii=False) + "\n"
        (at / COMPARISON).write_text(text, encoding="utf-8")
        (at / PAGE).write_text(pair_page(comparison), encoding="utf-8")
        for task in comparison.tasks:
            write_differing_rows(at, task.name, task.differing)

    folder.write(write)
