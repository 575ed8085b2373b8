"""The published tables agree with the metrics of the runs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbert_cli.cli import app
from mbert_cli.storage.metrics_file import read_metrics

REPOSITORY = Path(__file__).parent.parent
EXPERIMENTS = REPOSITORY / "tests" / "experiments"


def table_of(plan, folder, monkeypatch) -> str:
    """Return the table that a sweep writes from the kept runs of a plan, without its title."""
    monkeypatch.delenv("MBERT_DATA", raising=False)
    monkeypatch.chdir(folder.parent)
    shutil.copytree(EXPERIMENTS / plan, folder)
    app(["sweep", plan, "-o", str(folder), "--table", "-q"], standalone_mode=False)
    _, tables = (folder / "table.md").read_text(encoding="utf-8").split("\n", 1)
    return tables.strip()


@pytest.mark.parametrize(
    ("plan", "runs", "file"),
    [
        ("paper_tables_minilm", "22 of 22 runs are done", "paper/RESULTS.md"),
        ("equal_budgets_minilm", "36 of 36 runs are done", "EQUAL_BUDGETS.md"),
    ],
)
def test_the_tables_are_those_that_a_sweep_writes(minilm, tmp_path, monkeypatch, plan, runs, file):
    tables = table_of(plan, tmp_path / "sweep", monkeypatch)
    assert runs in tables
    assert tables in (REPOSITORY / "recipes" / file).read_text(encoding="utf-8")


def test_the_figure_is_the_one_that_a_sweep_draws(minilm, tmp_path, monkeypatch):
    table_of("equal_budgets_minilm", tmp_path / "sweep", monkeypatch)
    shown, drawn = (
        np.asarray(Image.open(file).convert("RGB"), dtype=float)
        for file in (REPOSITORY / "recipes" / "equal_budgets_minilm.png", tmp_path / "sweep" / "scores.png")
    )
    assert shown.shape == drawn.shape
    # Rounding of processors changes edges slightly. A point in another place changes fifty pixels or more.
    assert (np.abs(shown - drawn).max(-1) > 64).sum() < 20


def test_the_table_of_the_best_recipe_is_the_one_that_a_sweep_writes(minilm, tmp_path, monkeypatch):
    table = table_of("best_minilm", tmp_path / "sweep", monkeypatch)
    assert "| best\\_minilm | 3/3 |" in table
    assert "| 3 members |" in table
    assert table in (REPOSITORY / "recipes" / "BEST_MINILM.md").read_text(encoding="utf-8")


def test_the_scores_of_long_reviews_are_those_of_the_runs():
    page = (REPOSITORY / "mbert_cli" / "guide" / "recipes.md").read_text(encoding="utf-8")
    rows = {
        "the first 128 tokens": "the-first-128-tokens",
        "windows of 128 tokens that share 32, `mean`": "windows-of-128-mean",
        "windows of 128 tokens that share 32, `max`": "windows-of-128-max",
        "the first 512 tokens in one sequence": "the-first-512-tokens",
    }
    for row, run in rows.items():
        lines = read_metrics(EXPERIMENTS / "long_reviews" / "runs" / f"{run}-seed-1" / "metrics.jsonl")
        best = max(line.tasks["cfimdb"]["accuracy"] for line in lines)
        assert len(lines) == 10
        assert f"| {row} | {best:.3f} |".replace("| 0.", "| .") in page


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
def test_the_members_of_an_ensemble_are_kept(run, members, epochs):
    folder = EXPERIMENTS / run
    numbers = list(range(1, members + 1))
    assert [line.epoch for line in read_metrics(folder / "metrics.jsonl")] == numbers
    for member in numbers:
        found = [line.epoch for line in read_metrics(folder / "members" / str(member) / "metrics.jsonl")]
        assert found == list(range(1, epochs + 1))
