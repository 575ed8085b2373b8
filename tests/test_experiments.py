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
    assert "22 of 22 runs are done" in tables
    assert tables.strip() in RESULTS.read_text(encoding="utf-8")


def test_the_best_recipes_table_is_what_a_sweep_makes_of_its_runs(minilm, tmp_path, monkeypatch):
    monkeypatch.delenv("MBERT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EXPERIMENTS / "best_minilm", tmp_path / "sweep")
    app(["sweep", "best_minilm", "-o", "sweep", "--table", "-q"], standalone_mode=False)
    _, table = (tmp_path / "sweep" / "table.md").read_text(encoding="utf-8").split("\n", 1)
    assert "| best\\_minilm | 3/3 |" in table
    assert "| 3 members |" in table
    assert table.strip() in (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("run", "members", "epochs"),
    [
        ("best_minilm/runs/best-minilm-seed-1", 3, 4),
        ("best_minilm_two/seed1", 2, 4),
        ("best_minilm_soft_labels/seed2", 3, 4),
        ("best_minilm_select_after/seed1", 3, 6),
        ("best_minilm_by_overall/seed1", 3, 6),
        ("best_minilm_by_quora/seed1", 3, 6),
        ("best_minilm_before/seed1", 3, 6),
        ("best_minilm_before/seed2", 3, 6),
    ],
)
def test_an_ensembles_members_are_there(run, members, epochs):
    folder = EXPERIMENTS / run
    numbers = list(range(1, members + 1))
    assert [line["epoch"] for line in read_metrics(folder / "metrics.jsonl")] == numbers
    for member in numbers:
        found = [line["epoch"] for line in read_metrics(folder / "members" / str(member) / "metrics.jsonl")]
        assert found == list(range(1, epochs + 1))
