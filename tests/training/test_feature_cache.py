"""A frozen encoder with features cached in a file."""

import errno
import os

import pytest
import torch
from crashes import contents, dying_after
from tiny_runs import losses_of, run_of, train

from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.errors import RecipeError, ResourceError
from mbert_cli.evaluation.evaluate import evaluate

FROZEN = ("training.freeze_encoder=true", "adapters=[top]")
CACHED = (*FROZEN, "training.cache_features=true")


@pytest.fixture(autouse=True)
def made_folders(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()


@pytest.mark.parametrize("curriculum", ["hybrid", "simultaneous", "sequential"])
def test_a_frozen_encoder_does_not_change_under_any_curriculum(tiny_recipe, tmp_path, tiny_checkpoint, curriculum):
    run = run_of(tiny_recipe, tmp_path, tiny_checkpoint, "torch", f"curriculum={curriculum}", *FROZEN)
    before = {name: value.clone() for name, value in run.model.encoder.state_dict().items()}
    run.run()
    assert all(torch.equal(value, before[name]) for name, value in run.model.encoder.state_dict().items())
    assert not run.state.encoder_trained
    assert not (run.folder.model / "encoder" / "model.safetensors").exists()
    assert run.setup.learner.optimizer.state


@pytest.mark.parametrize("adapters", ["[top]", "[]"])
def test_training_on_features_equals_training_without_dropout_in_the_encoder(
    tiny_recipe, tmp_path, tiny_checkpoint, adapters
):
    found = []
    for name, settings in (("a", FROZEN), ("b", CACHED)):
        run = run_of(
            tiny_recipe, tmp_path / name, tiny_checkpoint, "torch", "curriculum=simultaneous", *settings,
            f"adapters={adapters}",
        )  # fmt: skip
        found.append(losses_of(run))
    for ours, theirs in zip(*found, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_steps_and_evaluations_on_features_compute_no_layer_of_the_encoder(
    tiny_recipe, tmp_path, tiny_checkpoint, monkeypatch
):
    run = run_of(tiny_recipe, tmp_path, tiny_checkpoint, "torch", *CACHED, "curriculum=simultaneous")

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(PackedEncoder, "layers_over", refuse)
    assert len(losses_of(run)) > 1
    evaluate(run.model, run.data.dev)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_features_resumed_is_byte_identical(tiny_recipe, tmp_path, precision):
    settings = (*CACHED, "training.epochs=3")
    train(tiny_recipe, tmp_path / "a", *settings, precision=precision)
    with dying_after(2):
        train(tiny_recipe, tmp_path / "b", *settings, precision=precision)
    train(tiny_recipe, tmp_path / "b", *settings, precision=precision, resume=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_file_is_deleted(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", *CACHED)
    train(tiny_recipe, tmp_path / "b", *FROZEN)
    assert contents(tmp_path / "a").keys() == contents(tmp_path / "b").keys()


def test_cached_features_of_an_encoder_that_trains_are_refused(tiny_recipe, tmp_path):
    with pytest.raises(RecipeError, match="cache_features is true, but the encoder trains; set training.freeze_encod"):
        train(tiny_recipe, tmp_path / "a", "training.cache_features=true", "adapters=[top]")


def test_gradient_checkpointing_without_an_encoder_in_the_steps_is_refused(tiny_recipe, tmp_path):
    settings = (*CACHED, "adapters=[top]", "training.gradient_checkpointing=true")
    with pytest.raises(RecipeError, match="gradient_checkpointing is true, but with .* no step runs the .* to false"):
        train(tiny_recipe, tmp_path / "a", *settings)


def test_adapters_inside_the_encoder_are_refused(tiny_recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"adapters\[0\] acts inside the encoder"):
        train(tiny_recipe, tmp_path / "a", *CACHED, "adapters=[{kind: low_rank, rank: 2}, top]")


def test_a_full_disk_is_reported_before_training(tiny_recipe, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        train(tiny_recipe, tmp_path / "a", *CACHED)
