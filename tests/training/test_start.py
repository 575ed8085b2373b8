"""`training.start_from`: adapters and heads start with the values of another run."""

import json
import shutil

import pytest
import tiny
import torch
from crashes import contents, dying_after
from tiny_runs import options, train

from mbert_cli.errors import CheckpointError, RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.tensor_files import read_tensors
from mbert_cli.storage.atomic import commit_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.dry_run import validate
from mbert_cli.training.fit import prepare

FROZEN = ("training.freeze_encoder=true", "training.epochs=1", "tasks.near=null")


@pytest.fixture(scope="module")
def first(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A folder with a recipe, and a run that has trained two of its tasks on the frozen encoder."""
    folder = tmp_path_factory.mktemp("start")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    (folder / "a").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbert_cli.training.loop.draw_figures", lambda *_: None)
        train(recipe, folder / "a", *FROZEN)
    return folder


def prepared(first, folder, *settings, start="a"):
    folder.mkdir()
    recipe = load_recipe(str(first / "recipe.yaml"), [f"training.start_from={first / start}", *settings])
    return prepare(recipe, RunFolder(folder), options())


def test_tasks_of_the_same_name_start_with_the_values_of_the_run(first, tmp_path, capsys):
    run = prepared(first, tmp_path / "b")
    (tmp_path / "c").mkdir()
    fresh = prepare(load_recipe(str(first / "recipe.yaml"), []), RunFolder(tmp_path / "c"), options())
    for name in ("mood", "same"):
        saved = read_tensors(first / "a" / "model" / "tasks" / f"{name}.safetensors")
        own, other = run.model.task(name).state_dict(), fresh.model.task(name).state_dict()
        assert all(torch.equal(own[key], value) for key, value in saved.items())
        assert not torch.equal(own["head.linear.weight"], other["head.linear.weight"])
    pairs = zip(run.model.task("near").parameters(), fresh.model.task("near").parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_run_that_trains_nothing_predicts_as_the_first_one(first, tmp_path):
    # With the smallest learning rates, training changes nothing that fp32 can hold.
    rates = ["training.learning_rate=1e-30", "training.weight_decay=0"]
    (tmp_path / "b").mkdir()
    train(first / "recipe.yaml", tmp_path / "b", f"training.start_from={first / 'a'}", *FROZEN, *rates)
    one, two = (contents(folder / "model" / "tasks") for folder in (first / "a", tmp_path / "b"))
    assert one == two
    assert "- start: adapters and heads of a\n" in (tmp_path / "b" / "model" / "README.md").read_text()


def test_a_run_is_resumed_without_the_run_that_it_started_from(first, tmp_path):
    shutil.copytree(first / "a", tmp_path / "a")
    settings = [f"training.start_from={tmp_path / 'a'}", "training.state_every=2", *FROZEN[:1], *FROZEN[2:]]
    for name in "bc":
        (tmp_path / name).mkdir()
    train(first / "recipe.yaml", tmp_path / "b", *settings)
    with dying_after(1, 2):
        train(first / "recipe.yaml", tmp_path / "c", *settings)
    shutil.rmtree(tmp_path / "a")
    train(first / "recipe.yaml", tmp_path / "c", *settings, resume=True)
    assert contents(tmp_path / "b" / "model") == contents(tmp_path / "c" / "model")
    state = json.loads(next((tmp_path / "c" / "state").glob("*/state.json")).read_text())
    assert set(state["origin"]["start_sha256"]) == {"mood", "same"}


def test_a_resumed_run_without_a_state_needs_the_other_run(first, tmp_path):
    recipe = load_recipe(str(first / "recipe.yaml"), [f"training.start_from={tmp_path / 'gone'}"])
    with pytest.raises(RecipeError, match=r"training\.start_from: .*gone: there is no such run folder"):
        prepare(recipe, RunFolder(tmp_path / "b"), options(resume=True))


def test_another_encoder_is_noted(first, tmp_path, capsys):
    tiny.write_checkpoint(tmp_path / "other", intermediate_size=24)
    tiny.write_checkpoint(tmp_path / "same")
    (tmp_path / "b").mkdir()
    for name, noted in (("same", False), ("other", True)):
        settings = [f"training.start_from={first / 'a'}", f"encoder.checkpoint={tmp_path / name}", "adapters=[]"]
        (tmp_path / f"run-{name}").mkdir()
        train(first / "recipe.yaml", tmp_path / f"run-{name}", *FROZEN, "adapters=[]", *settings[1:2])
        settings[0] = f"training.start_from={tmp_path / 'run-same'}"
        prepare(
            load_recipe(str(first / "recipe.yaml"), settings), RunFolder(tmp_path / "b"), options(console=Console())
        )
        printed = capsys.readouterr().err.replace("\n", " ")
        assert ("were trained with another encoder" in printed) == noted
        assert "adapters and heads of" in printed
        assert "new: near" in printed


MISTAKES = {
    "no run": (["training.start_from=nowhere"], "there is no such run folder"),
    "not a run": (["training.start_from=FILES"], "is not a run folder"),
    "kind of head": (
        ["tasks.mood.head={kind: ordinal, labels: [low, mid, high]}"],
        "tasks.mood.head is ordinal, but task mood of .*a has the head classification; rename the task, or remove",
    ),
    "labels": (
        ["tasks.mood.head={kind: classification, labels: [mid, low, high]}"],
        "tasks.mood.head has the labels mid, low, high, but task mood of .*a has low, mid, high; rename the task",
    ),
    "kinds of adapters": (
        ["adapters=[{kind: ia3}]"],
        r"adapters are ia3, but task mood of .*a has low_rank \+ top; use the",
    ),
    "no task": (
        ["tasks.mood=null", "tasks.same=null"],
        "start_from is .*a, which has no task of this recipe, only mood, same; rename a task, or remove the key",
    ),
    "empty": (["training.start_from=''"], "training.start_from is empty"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_run_that_does_not_fit_is_reported_by_train_and_validate(name, first, tiny_files, tmp_path):
    settings, message = MISTAKES[name]
    own = [f"training.start_from={first / 'a'}", *(each.replace("FILES", str(tiny_files)) for each in settings)]
    with pytest.raises(RecipeError, match=message):
        prepare(load_recipe(str(first / "recipe.yaml"), own), RunFolder(tmp_path / "b"), options())
    with pytest.raises(RecipeError, match=message):
        validate(load_recipe(str(first / "recipe.yaml"), own), tmp_path / "b", options(), measure=False)
    assert not (tmp_path / "b").exists()


def test_shapes_that_differ_are_reported(first, tmp_path):
    message = (
        r"start_from: task mood does not fit: adapters\.0\.\S+ is \[\d+, \d+\], expected \[\d+, \d+\]; .*same sizes"
    )
    recipe = load_recipe(
        str(first / "recipe.yaml"),
        [f"training.start_from={first / 'a'}", "adapters=[{kind: low_rank, rank: 2}, {kind: top}]"],
    )
    with pytest.raises(RecipeError, match=message):
        validate(recipe, tmp_path / "b", options(), measure=False)


def test_an_ensemble_is_refused(first, tmp_path):
    shutil.copytree(first / "a", tmp_path / "both")
    config = tmp_path / "both" / "model" / "config.json"
    own = json.loads(config.read_text()) | {"members": 1}
    copy = tmp_path / "copy"
    (tmp_path / "both" / "model").rename(copy)
    (copy / "config.json").write_text(json.dumps(own))
    (copy / "manifest.json").unlink()
    commit_folder(tmp_path / "both" / "model", lambda at: shutil.copytree(copy, at, dirs_exist_ok=True))
    recipe = load_recipe(str(first / "recipe.yaml"), [f"training.start_from={tmp_path / 'both'}"])
    with pytest.raises(
        CheckpointError, match=r"both: is an ensemble; start from one of its members, such as .*members/1"
    ):
        prepare(recipe, RunFolder(tmp_path / "b"), options())
