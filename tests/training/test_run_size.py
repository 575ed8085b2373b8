"""The estimated size of a run compared with the size of tiny runs, part by part."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tiny
from tiny_runs import options

from mbert_cli.metrics import MATRIX_LIMIT, classification_metrics
from mbert_cli.model.components import load_recipe
from mbert_cli.reports.evaluation_folder import Evaluation, Predictions, evaluation_size, metrics_size, write_evaluation
from mbert_cli.storage import atomic as commits
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.training import dry_run as validation
from mbert_cli.training import feature_cache as features
from mbert_cli.training import fit as training
from mbert_cli.training.fit import fit, prepare
from mbert_cli.training.members import fit_members
from mbert_cli.training.run_size import disk_needed, run_size

KINDS = {
    "full": [],
    "frozen epochs first": ["training.epochs=3"],
    "all epochs train everything": ["curriculum=simultaneous", "training.epochs=4"],
    "states within epochs": ["training.state_every=2", "training.keep=4"],
    "one state": ["training.keep=1", "training.epochs=3"],
    "frozen": ["training.freeze_encoder=true", "curriculum=simultaneous"],
    "frozen, features cached": [
        "training.freeze_encoder=true",
        "curriculum=simultaneous",
        "training.cache_features=true",
        "adapters=[top]",
    ],
    "own parts only": ["curriculum={kind: sequential, freeze: true}"],
    "starts from random values": ["training.freeze_encoder=true", "encoder.reinitialise=1", "curriculum=simultaneous"],
    "balanced": ["curriculum=simultaneous", "loss_balancing=gradnorm"],
    "ensemble": ["training.members=3", "training.epochs=2"],
}


def test_the_files_of_trackers_are_counted(tiny_recipe, tmp_path):
    settings = [
        "training.track=[tensorboard]",
        "training.epochs=12",
        "curriculum=simultaneous",
        "training.state_every=null",
    ]
    recipe = load_recipe(str(tiny_recipe), settings)
    plain = run_size(prepare(load_recipe(str(tiny_recipe), settings[1:]), RunFolder(tmp_path), options()).setup)
    size = run_size(prepare(recipe, RunFolder(tmp_path), options()).setup)
    (tmp_path / "run").mkdir()
    fit(recipe, RunFolder(tmp_path / "run"), options())
    assert size.texts - plain.texts == pytest.approx(bytes_of(tmp_path / "run" / "tracking"), rel=1 / 3)


def bytes_of(folder):
    """Return the size of the files in a folder; a file with several links counts once."""
    sizes = {}
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found = Path(path, name).stat()
            except FileNotFoundError:
                continue
            sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_within_a_third_of_the_bytes_written(tiny_recipe, tmp_path, monkeypatch, figures, kind):
    recipe = load_recipe(str(tiny_recipe), KINDS[kind])
    folder, members = RunFolder(tmp_path / "run"), recipe.training.members
    dry = prepare(recipe, RunFolder(tmp_path), options())
    size = run_size(dry.setup, epoch_seconds=1.0)
    peaks, nameless, sync, memory = [0], [0], commits._sync, features._Memory
    monkeypatch.setattr(commits, "_sync", lambda path: peaks.append(bytes_of(folder.path)) or sync(path))
    monkeypatch.setattr(features, "_Memory", lambda at, size: nameless.append(size) or memory(at, size))
    with locked(folder):
        (fit_members if members > 1 else fit)(recipe, folder, options())
    needed = disk_needed(size, members)
    assert needed.kept == pytest.approx(bytes_of(folder.path), rel=1 / 3)
    assert needed.most == pytest.approx(max(peaks) + max(nameless), rel=1 / 3)
    if members == 1:
        assert size.kept_states == pytest.approx(bytes_of(folder.states), rel=1 / 3)
        assert size.model == pytest.approx(bytes_of(folder.model), rel=1 / 3)
        assert size.features == max(nameless)
        assert size.figures == pytest.approx(bytes_of(folder.figures), rel=1 / 3)
        texts = bytes_of(folder.evaluation) + folder.metrics_file.stat().st_size + folder.recipe_file.stat().st_size
        assert size.texts == pytest.approx(texts, rel=1 / 3)


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_large_encoder_counts_only_in_states_after_its_training(tmp_path, epochs):
    for name in ("checkpoint", "files", "run"):
        (tmp_path / name).mkdir()
    checkpoint = tiny.write_checkpoint(tmp_path / "checkpoint", intermediate_size=8192)  # 2 MB
    path = tiny.write_recipe(tmp_path / "recipe.yaml", checkpoint, tiny.write_files(tmp_path / "files"))
    recipe = load_recipe(str(path), [f"training.epochs={epochs}", "training.keep=3"])
    folder = RunFolder(tmp_path / "run")
    run = prepare(recipe, folder, options())
    size = run_size(run.setup, epoch_seconds=1.0)
    run.run()
    written = [bytes_of(each) for each in reversed(folder.state_folders())]
    assert list(size.states[-3:]) == pytest.approx(written, rel=0.1)
    assert size.kept == pytest.approx(bytes_of(folder.path), rel=0.2)


@pytest.mark.parametrize(("resume", "needed"), [(False, "most"), (True, "added")])
def test_a_run_checks_the_free_space_that_it_needs(tiny_recipe, tmp_path, monkeypatch, resume, needed):
    asked = []
    monkeypatch.setattr(training, "check_room", lambda folder, size: asked.append(size))
    recipe, folder = load_recipe(str(tiny_recipe), []), RunFolder(tmp_path)
    run = training.prepare(recipe, folder, options(resume=resume))
    size = run_size(run.setup)
    assert asked == [getattr(size, needed)]


def test_a_dry_run_reports_the_final_size_and_the_largest_size(tiny_recipe, tmp_path):
    recipe = load_recipe(str(tiny_recipe), ["training.members=2"])
    found = validation.validate(recipe, tmp_path / "run", options(), measure=False)
    assert 0 < found.disk < found.disk_at_most
    assert f"{found.disk / 1e6:,.0f} MB of disk ({found.disk_at_most / 1e6:,.0f} MB while it runs)" in found.line()


@pytest.mark.parametrize(
    ("every", "seconds", "states"),
    [
        ("null", 9e9, 1),
        ("10min", 599.0, 1),
        ("10min", 600.0, 3),
        ("90s", 89.0, 1),
        ("1h", 3600.0, 3),
        ("10min", None, 3),
        ("50", 1.0, 3),
    ],
)
def test_states_within_an_epoch_are_counted_if_the_epoch_is_long(tiny_recipe, tmp_path, every, seconds, states):
    recipe = load_recipe(str(tiny_recipe), ["training.epochs=1", f"training.state_every={every}"])
    run = training.prepare(recipe, RunFolder(tmp_path), options())
    known = {} if seconds is None else {"epoch_seconds": seconds}
    assert len(run_size(run.setup, **known).states) == states


@pytest.mark.parametrize(("rows", "classes"), [(3000, 3), (3000, 20), (5000, 100), (300, 4000), (20_000, 150)])
def test_evaluations_of_many_rows_and_classes_are_counted(tmp_path, rows, classes):
    rng, labels = np.random.default_rng(0), [f"class-{number}" for number in range(classes)]
    true = rng.integers(0, classes, rows)
    predicted = np.where(rng.random(rows) < 0.6, true, rng.integers(0, classes, rows))
    metrics = classification_metrics(predicted, true, labels, positive=None)
    shown = labels if classes <= MATRIX_LIMIT else ["probability"]
    columns = {"pred": [labels[each] for each in predicted], **{f"p_{each}": [0.123456] * rows for each in shown}}
    parts = [Predictions(range(rows), [labels[each] for each in true], columns)]
    write_evaluation(tmp_path, Evaluation({"tasks": {"a": metrics}}, {"a": parts}))
    assert evaluation_size(rows, classes) == pytest.approx(bytes_of(tmp_path), rel=1 / 3)
    assert metrics_size(rows, classes) == pytest.approx(len(json.dumps(metrics)), rel=1 / 3)
