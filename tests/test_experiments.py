"""The published tables are what the runs' metrics say."""

import shutil
from pathlib import Path

import pytest

from mbert_cli.cli import app
from mbert_cli.metrics_file import read_metrics

REPOSITORY = Path(__file__).parent.parent
EXPERIMENTS = REPOSITORY / "tests" / "experiments"
RESULTS = REPOSITORY / "recipes" / "paper" / "RESULTS.md"


def test_the_tables_are_what_a_sweep_makes_of_the_runs(minilm, tmp_path, monkeypatch):
    monkeypatch.delenv("MBERT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    sweep = tmp_path / "sweep"
    shutil.copytree(EXPERIMENTS / "paper_tables_minilm", sweep)
    app(["sweep", "paper_tables_minilm", "-o", str(sweep), "--table", "-q"], standalone_mode=False)
    _, tables = (sweep / "table.md").read_text(encoding="utf-8").split("\n", 1)
    assert "9 of 22 runs are done" in tables
    assert tables.strip() in RESULTS.read_text(encoding="utf-8")


@pytest.mark.parametrize("seed", [1, 2])
def test_an_ensembles_members_are_there(seed):
    run = EXPERIMENTS / "best_minilm" / f"seed{seed}"
    assert [line["epoch"] for line in read_metrics(run / "metrics.jsonl")] == [1, 2, 3]
    for member in "123":
        assert [line["epoch"] for line in read_metrics(run / "members" / member / "metrics.jsonl")] == [
            1,
            2,
            3,
            4,
            5,
            6,
        ]
