"""The encoder of a model: a run can be used as a checkpoint, and a moved encoder is found or can be named."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
from crashes import contents
from safetensors.torch import load_file, save_file

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.encoder.location import find_encoder
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.export.hub import push_model
from mbert_cli.model.saved_model import read_model
from mbert_cli.storage.atomic import check_folder

FROZEN = "training.freeze_encoder=true"
QUICK = ("--device", "cpu", "--precision", "fp32", "-q")
TEXTS = ["a cat", "man runs great"]


def train(recipe, folder, *settings, quiet=True):
    words = ["train", str(recipe), "-o", str(folder), "training.epochs=1", *settings, *QUICK[: None if quiet else -1]]
    app(words, standalone_mode=False)
    return folder


def predicted(run, **options):
    return Predictor(run, device="cpu", precision="fp32", **options)(TEXTS, task="mood")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with an encoder, data, a recipe, a run that trained the encoder, and a run that did not."""
    folder = tmp_path_factory.mktemp("project")
    tiny.write_checkpoint(folder / "encoder")
    tiny.write_files(folder)
    recipe = tiny.write_recipe(folder / "recipe.yaml", folder / "encoder", folder)
    train(recipe, folder / "runs" / "trained", "curriculum=simultaneous")
    train(recipe, folder / "runs" / "frozen", FROZEN)
    return folder


@pytest.fixture
def moved(project, tmp_path):
    """A copy of the project whose encoder has another name, so that its runs cannot find it."""
    folder = tmp_path / "moved"
    shutil.copytree(project, folder)
    (folder / "encoder").rename(folder / "renamed")
    for run in ("frozen", "trained"):
        path = folder / "runs" / run / "model" / "config.json"
        text = path.read_text().replace(str(project), str(tmp_path / "gone"))
        manifest = folder / "runs" / run / "model" / "manifest.json"
        manifest.unlink()
        path.write_text(text)
        _sign(path.parent)
    return folder


def _sign(folder):
    """Write a manifest for the current files of a folder."""
    from mbert_cli.storage.atomic import commit_folder

    copy = folder.with_name("copy")
    folder.rename(copy)
    commit_folder(folder, lambda new: shutil.copytree(copy, new, dirs_exist_ok=True))
    shutil.rmtree(copy)


@pytest.mark.parametrize("named", ["runs/trained", "runs/trained/model", "runs/trained/model/encoder"])
def test_a_run_as_a_checkpoint_is_its_encoder_and_a_note_is_printed(named, project, tmp_path, capsys):
    train(project / "recipe.yaml", tmp_path / "a", f"encoder.checkpoint={project / named}", quiet=False)
    own = project / "runs" / "trained" / "model" / "encoder"
    message = f"encoder of {project / named}: {own}"
    assert (message in capsys.readouterr().err.replace("\n", "")) == (named != "runs/trained/model/encoder")
    train(project / "recipe.yaml", tmp_path / "b", f"encoder.checkpoint={shutil.copytree(own, tmp_path / 'copy')}")
    models = [contents(tmp_path / name / "model" / "tasks") for name in "ab"]
    assert models[0] == models[1]
    train(project / "recipe.yaml", tmp_path / "c")
    assert contents(tmp_path / "c" / "model" / "tasks") != models[0]


@pytest.mark.parametrize("named", ["runs/frozen", "runs/frozen/model", "runs/frozen/model/encoder"])
def test_a_run_that_never_trained_its_encoder_is_the_checkpoint_that_it_refers_to(named, project, tmp_path):
    found = find_encoder(str(project / named))
    assert found.folder == project / "encoder"
    assert found.note == f"encoder of {project / named}: {project / 'encoder'}"
    # A run may refer to a run that refers to a checkpoint.
    train(project / "recipe.yaml", tmp_path / "a", f"encoder.checkpoint={project / named}", FROZEN)
    assert find_encoder(str(tmp_path / "a")).folder == project / "encoder"
    assert predicted(tmp_path / "a") == predicted(project / "runs" / "frozen")


def test_runs_without_a_model_and_ensembles_are_refused_as_checkpoints(project, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "recipe.yaml").write_text("a: 1\n")
    with pytest.raises(CheckpointError, match=r"empty: this run has no model yet"):
        find_encoder(str(tmp_path / "empty"))
    train(project / "recipe.yaml", tmp_path / "both", "training.members=2", "curriculum=simultaneous")
    with pytest.raises(CheckpointError, match=r"both: is an ensemble, .* such as members/1 of the run\."):
        find_encoder(str(tmp_path / "both"))
    assert find_encoder(str(tmp_path / "both" / "members" / "1")).folder.name == "encoder"


def test_an_altered_encoder_of_a_run_is_refused_as_a_checkpoint(project, tmp_path):
    shutil.copytree(project / "runs" / "trained", tmp_path / "a")
    weights = tmp_path / "a" / "model" / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: the sha256 must be .*, but is"):
        train(project / "recipe.yaml", tmp_path / "b", f"encoder.checkpoint={tmp_path / 'a'}")


def test_an_encoder_that_differs_from_the_hash_in_the_recipe_is_refused_with_the_remedy(project, tmp_path):
    message = r"model\.safetensors: the sha256 must be a{64}, but is \w{64}; .* on purpose, add encoder\.sha256=null\.$"
    with pytest.raises(CheckpointError, match=message):
        train(project / "recipe.yaml", tmp_path / "b", f"encoder.sha256={'a' * 64}")


def test_a_model_finds_its_encoder_when_both_were_moved_together(project, tmp_path):
    before = predicted(project / "runs" / "frozen")
    shutil.copytree(project, tmp_path / "there")
    project.rename(tmp_path / "away")
    try:
        assert predicted(tmp_path / "there" / "runs" / "frozen") == before
    finally:
        (tmp_path / "away").rename(project)


COMMANDS = {
    "predict": ["predict", "RUN", "mood-dev.tsv", "-t", "mood", "-o", "out.tsv", *QUICK],
    "embed": ["embed", "RUN", "mood-dev.tsv", "-t", "mood", "-o", "out.npy", *QUICK],
    "evaluate": ["evaluate", "RUN", "--data", "mood=mood-dev.tsv", "-o", "out", *QUICK],
    "export": ["export", "RUN", "-t", "mood", "-o", "out", "-q"],
    "push": ["push", "RUN", "me/moods", "--dry-run", "-q"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_error_for_a_missing_encoder_names_the_option_and_the_option_works(command, moved, monkeypatch):
    monkeypatch.chdir(moved)
    words = [str(moved / "runs" / "frozen") if each == "RUN" else each for each in COMMANDS[command]]
    with pytest.raises(CheckpointError) as refusal:
        app(words, standalone_mode=False)
    (message,) = refusal.value.problems
    assert "gone/encoder: the checkpoint folder does not exist. This model needs that encoder" in message
    assert message.endswith("if it is in another folder now, use --encoder DIR (in Python: encoder=DIR).")
    with pytest.raises(
        CheckpointError, match=r"^nowhere: the folder does not exist; --encoder must be the folder that contains"
    ):
        app([*words, "--encoder", "nowhere"], standalone_mode=False)
    if command != "export":  # it takes long
        app([*words, "--encoder", "renamed"], standalone_mode=False)


def test_only_an_encoder_with_the_same_hash_is_accepted(project, moved):
    run = moved / "runs" / "frozen"
    assert predicted(run, encoder=moved / "renamed") == predicted(project / "runs" / "frozen")
    weights = load_file(moved / "renamed" / "model.safetensors")
    (moved / "other").mkdir()
    save_file({name: value + 1 for name, value in weights.items()}, moved / "other" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"other/model\.safetensors: the sha256 must be \w{64}, but is \w{64}"):
        predicted(run, encoder=moved / "other")


def test_a_model_that_contains_its_encoder_accepts_no_other(moved):
    trained = moved / "runs" / "trained"
    for refused in (
        lambda: read_model(trained, moved / "renamed"),
        lambda: push_model(trained, "a/b", False, None, True, "x"),
    ):
        with pytest.raises(UsageError, match=r"trained: this model contains its encoder; remove --encoder\."):
            refused()


def test_a_sharded_encoder_is_identified_by_its_hash_and_not_copied(project, tmp_path):
    shards = Path(shutil.copytree(project / "encoder", tmp_path / "shards"))
    tensors = load_file(shards / "model.safetensors")
    (shards / "model.safetensors").unlink()
    names = list(tensors)
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, shards / file)
    index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    run = train(project / "recipe.yaml", tmp_path / "runs" / "a", f"encoder.checkpoint={shards}", FROZEN)
    assert not list((run / "model" / "encoder").glob("*.safetensors"))
    shards.rename(tmp_path / "renamed")
    assert predicted(run, encoder=tmp_path / "renamed") == predicted(project / "runs" / "frozen")
    save_file({name: tensors[name] * 2 for name in names[1::2]}, tmp_path / "renamed" / "two.safetensors")
    with pytest.raises(CheckpointError, match="the sha256 must be"):
        predicted(run, encoder=tmp_path / "renamed")


def test_a_pushed_model_contains_an_encoder_from_a_folder_and_no_paths(project, tmp_path, monkeypatch):
    import huggingface_hub

    def keep(self, *, folder_path, **_):
        shutil.copytree(folder_path, tmp_path / "there")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", keep)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *_, **__: None)
    push_model(project / "runs" / "frozen", "me/moods", False, None)
    check_folder(tmp_path / "there")
    assert str(project.parent) not in (tmp_path / "there" / "config.json").read_text()
    assert predicted(tmp_path / "there") == predicted(project / "runs" / "frozen")


def test_a_folder_that_is_not_a_run_is_itself_the_checkpoint(tiny_checkpoint):
    assert find_encoder(str(tiny_checkpoint)).folder == tiny_checkpoint
    assert find_encoder(str(tiny_checkpoint)).note is None


def inodes(folder):
    return {path.stat().st_ino for path in folder.rglob("*.safetensors") if path.parent.name == "encoder"}


def test_equal_encoders_of_a_run_are_stored_once(project, tmp_path):
    frozen = project / "runs" / "frozen"
    assert not inodes(frozen), "neither the model nor the state copies the weights of the checkpoint"
    run = train(project / "recipe.yaml", tmp_path / "a", "curriculum=simultaneous", "training.keep=1")
    assert inodes(run / "model") == inodes(run / "state")
    both = train(project / "recipe.yaml", tmp_path / "b", "curriculum=simultaneous", "training.members=2")
    assert len(inodes(both / "model")) == 2
    assert inodes(both / "model") == inodes(both / "members")
    tasks = both / "model" / "members" / "2" / "tasks" / "mood.safetensors"
    assert tasks.samefile(both / "members" / "2" / "model" / "tasks" / "mood.safetensors")
    # Removing one folder does not affect the other.
    before = predicted(both)
    shutil.rmtree(both / "members")
    assert predicted(both) == before
