"""Trials of a search that end early."""

import json

import pytest
from records import record
from tiny_runs import options, train

from mbert_cli.errors import UsageError
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.metrics_file import is_complete
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import fit
from mbert_cli.training.pruning import Pruning, read_limits

SETTINGS = ("training.epochs=3", "curriculum=simultaneous", "adapters=[]", "training.freeze_encoder=true")


def test_a_trial_ends_after_the_round_whose_limit_it_does_not_reach(tiny_recipe, tmp_path):
    """The last limit has no effect: all epochs are trained."""
    folder, recipe = RunFolder(tmp_path / "run"), load_recipe(str(tiny_recipe), SETTINGS)
    folder.path.mkdir()
    fit(recipe, folder, options(prune_below={1: 0.0, 2: 1.5, 3: 1.5}))
    first, second = folder.read_metrics()
    assert (first.ended, second.ended) == (None, "pruned")
    assert is_complete([first, second], recipe.training.rounds)
    assert "training ended early: its score is below the median of earlier trials" in (
        (folder.model / "README.md").read_text()
    )
    # A resumed trial decides alike; without limits, it trains the last epoch.
    fit(recipe, folder, options(resume=True, prune_below={1: 0.0, 2: 1.5}))
    assert len(folder.read_metrics()) == 2
    train(tiny_recipe, folder.path, *SETTINGS, resume=True)
    assert [each.ended for each in folder.read_metrics()] == [None, "pruned", None]


def test_the_best_score_so_far_is_compared(tmp_path):
    """As in Optuna's MedianPruner: a trial that was better before is not pruned for its last score."""

    pruning = Pruning({1: 0.5, 2: 0.6, 3: 0.7}, RunFolder(tmp_path))
    ends = []
    for epoch, overall in ((1, 0.6), (2, 0.1), (3, None), (4, 0.2)):
        pruning.note(record(epoch, overall=overall))
        ends.append(pruning.is_due)
    assert ends == [False, False, False, False]
    pruning = Pruning({1: 0.5}, RunFolder(tmp_path))
    pruning.note(record(1, overall=0.49))
    assert pruning.is_due


def test_limits_of_another_form_are_rejected(tmp_path):
    file = tmp_path / "limits.json"
    file.write_text(json.dumps({"1": 0.5, "2": 0.25}))
    assert read_limits(file) == {1: 0.5, 2: 0.25}
    file.write_text('{"first": 1}')
    with pytest.raises(UsageError, match="must map numbers of epochs to scores"):
        read_limits(file)
