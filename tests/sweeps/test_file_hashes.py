"""Sweeps that were moved, and sweeps whose files have changed."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
from sweeping import PLAN, mbert_sweep, starts, table

from mbert_cli.errors import UsageError


@pytest.fixture
def project(here, tiny_checkpoint, tiny_files, monkeypatch):
    """A folder with a finished sweep, its plan, and all files that it reads."""
    folder = here / "project"
    shutil.copytree(tiny_files, folder / "data")
    shutil.copytree(tiny_checkpoint, folder / "encoder")
    tiny.write_recipe(folder / "recipe.yaml", Path("./encoder"), Path("data"))
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    monkeypatch.chdir(folder)
    mbert_sweep("-q")
    return folder


def move(project, monkeypatch):
    """Rename a project's folder and enter it."""
    monkeypatch.chdir(project.parent)
    project.rename(project.with_name("moved"))
    monkeypatch.chdir("moved")
    return project.with_name("moved")


def test_a_sweep_moved_with_its_files_trains_only_unfinished_runs(project, monkeypatch):
    moved = move(project, monkeypatch)
    metrics = moved / "out" / "runs" / "g-none-seed-2" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines(keepends=True)[0])
    for name in ("again", "once more"):
        mbert_sweep("-q")
        assert {name for name, times in starts(moved).items() if times > 1} == {"g-none-seed-2"}, name
        assert starts(moved)["g-none-seed-2"] == 2
    assert {row["done"] for row in table(moved).values()} == {"2"}


def test_the_table_of_a_moved_sweep_has_all_its_runs(project, monkeypatch):
    before = (project / "out" / "table.tsv").read_bytes()
    plan = PLAN.replace("name: both,", "name: renamed,")
    (project / "plan.yaml").write_text(plan, encoding="utf-8")
    moved = move(project, monkeypatch)
    mbert_sweep("--table")
    assert (moved / "out" / "table.tsv").read_bytes().replace(b"renamed", b"both") == before


@pytest.mark.parametrize("is_moved", [False, True])
def test_changed_file_contents_are_reported(project, monkeypatch, is_moved):
    folder = move(project, monkeypatch) if is_moved else project
    file = folder / "data" / "mood-train.tsv"
    file.write_text(file.read_text().replace("low", "high", 1))
    with pytest.raises(UsageError) as caught:
        mbert_sweep("-q")
    *problems, remedy = caught.value.problems
    assert len(problems) == 4
    changed = "tasks.mood.train was '" if is_moved else f"the contents of tasks.mood.train ({file}) have changed"
    assert problems[0].startswith(f"out/runs/g-both-seed-1: {changed}")
    assert problems[0].count("tasks.") == 1
    assert "--force" in remedy
    assert set(starts(folder).values()) == {1}


def test_a_sweep_without_hashes_compares_paths(project, monkeypatch):
    for file in (project / "out" / "recipes").glob("*.json"):
        record = json.loads(file.read_text())
        del record["files"]
        file.write_text(json.dumps(record))
    (project / "data" / "mood-train.tsv").write_bytes((project / "data" / "mood-dev.tsv").read_bytes())
    mbert_sweep("-q")
    move(project, monkeypatch)
    with pytest.raises(UsageError, match="out/runs/g-both-seed-1: encoder.checkpoint was '"):
        mbert_sweep("-q")


def test_a_changed_test_file_does_not_affect_runs(here):
    mbert_sweep("-q")
    (here / "plan.yaml").write_text(PLAN.replace("epochs=2]", "epochs=2, tasks.mood.test=later.tsv]"))
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}
