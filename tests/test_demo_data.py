import subprocess
import sys
from pathlib import Path


def test_the_shipped_demo_data_is_that_of_its_generator():
    check = subprocess.run(
        [sys.executable, "-m", "tests.demo_data", "--check"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_demo_data_has_no_sentence_in_both_splits():
    from mbert_cli.data.table import Table

    for task, columns in (("sentiment", 1), ("paraphrase", 2), ("similarity", 2)):
        seen = {}
        for split in ("train", "dev"):
            with Table(str(Path(__file__).parent.parent / "recipes" / "demo" / f"{task}-{split}.tsv")) as table:
                seen[split] = {cell for row in table for cell in row.cells[1 : 1 + columns]}
        assert seen["train"]
        assert seen["dev"]
        assert not seen["train"] & seen["dev"]
