import json

import commands
import numpy as np
import pytest
import torch

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.errors import CheckpointError, MbertError, RecipeError, Stopped, UsageError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.ensemble import Ensemble
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_model import read_model, write_model
from mbert_cli.pooling.mean import Mean
from mbert_cli.storage.atomic import commit_folder
from mbert_cli.training.growing_ensemble import GrowingEnsemble
from mbert_cli.training.members import member_recipe

FLAGS = ("--precision", "fp32", "--device", "cpu", "-q")
TEXTS = {"text": ["cat", "man runs great on a street", "dog"]}
PAIRS = {"one": ["cat", "dog on blue"], "two": ["man runs", "bird"]}


def mbert(*words):
    app([*map(str, words)], standalone_mode=False)


@pytest.fixture(scope="module")
def recipe(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    return tiny.write_recipe(tmp_path_factory.mktemp("ensemble") / "recipe.yaml", tiny_checkpoint, tiny_files)


@pytest.fixture(scope="module")
def run(recipe):
    mbert("train", recipe, "-o", recipe.parent / "run", "training.members=3", *FLAGS)
    return recipe.parent / "run"


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_recipe_of_a_member_reproduces_it(run, recipe):
    seeds = [load_recipe(str(run / "members" / str(i) / "recipe.yaml"), []).training.seed for i in (1, 2, 3)]
    assert seeds[0] == load_recipe(str(recipe), []).training.seed
    assert len(set(seeds)) == 3
    mbert("train", run / "members" / "2" / "recipe.yaml", "-o", run.parent / "second", *FLAGS)
    for part in ("tasks/mood.safetensors", "encoder/model.safetensors"):
        own = run / "members" / "2" / "model" / part
        assert own.read_bytes() == (run.parent / "second" / "model" / part).read_bytes()
    assert not (run / "members" / "2" / "state").exists()


@pytest.fixture(scope="module")
def together(run):
    """A saved ensemble with the first two members."""
    members = [read_model(run / "members" / str(i)) for i in (1, 2)]
    ensemble = Ensemble([each.model for each in members])
    recipe = load_recipe(str(run / "recipe.yaml"), [])
    folder = run.parent / "together"
    commit_folder(
        folder,
        lambda at: write_model(at, ensemble, recipe, members[0].tokenizer, encoder_changed=True, scores=lines(run)[0]),
    )
    return folder


def test_an_ensemble_has_what_prediction_needs_but_no_encoder(run):
    members = [read_model(run / "members" / str(i)).model for i in (1, 2)]
    ensemble = Ensemble(members)
    assert ensemble.members() == members
    assert [each.members() for each in members] == [[each] for each in members]
    assert (ensemble.task_names, ensemble.shape) == (members[0].task_names, members[0].shape)
    assert ensemble.head("mood") is members[0].head("mood")
    assert not isinstance(ensemble, MultiTaskBert)
    ensemble.compute_with(torch.bfloat16, "torch")
    assert {each.compute_dtype for each in members} == {torch.bfloat16}


def test_a_saved_ensemble_predicts_with_the_mean_of_its_members_outputs(run, together):
    found = Predictor(together, precision="fp32")
    first, second = (Predictor(run / "members" / str(i), precision="fp32") for i in (1, 2))
    cosines = [np.array(each(PAIRS, "near")["score"]) for each in (first, second)]
    assert np.abs(cosines[0] - cosines[1]).max() > 1e-3  # the members differ
    np.testing.assert_allclose(found(PAIRS, "near")["score"], np.mean(cosines, axis=0), atol=1e-6)
    names = [f"p_{name}" for name in ("low", "mid", "high")]
    logits = [np.log([each(TEXTS, "mood")[name] for name in names]) for each in (first, second)]
    expected = torch.tensor(np.mean([each - each.mean(0) for each in logits], axis=0)).softmax(0)
    np.testing.assert_allclose([found(TEXTS, "mood")[name] for name in names], expected, atol=1e-6)


def test_an_exported_ensemble_gives_the_same_predictions(together, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra [onnx]")
    import onnx_user

    # In a separate process: the exporter traces code, and the type checks of the tests would disturb it.
    done = commands.mbert("export", together, "-t", "mood", "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = Predictor(together, precision="fp32")(TEXTS, "mood")
    found = onnx_user.predict(tmp_path / "out", "mood", [[text] for text in TEXTS["text"]])
    np.testing.assert_allclose(found, np.array([expected[f"p_{name}"] for name in ("low", "mid", "high")]).T, atol=1e-4)


def test_an_ensemble_without_a_padded_form_cannot_be_exported(run, monkeypatch, tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra [onnx]")
    monkeypatch.delattr(Mean, "padded")
    with pytest.raises(CheckpointError, match="the pooling Mean has no padded form, so it cannot be exported"):
        mbert("export", run, "-o", tmp_path / "out", "-q")
    assert not (tmp_path / "out").exists()


def test_metrics_have_a_line_for_each_member_and_agree_with_evaluate(run, capsys):
    found = lines(run)
    assert [line["epoch"] for line in found] == [1, 2, 3]
    first = [json.loads(line) for line in (run / "members" / "1" / "metrics.jsonl").read_text().splitlines()]
    assert found[0]["overall"] == pytest.approx(max(line["overall"] for line in first), abs=1e-9)
    kept = found[-1]  # all members, even if fewer members score better on dev
    assert all(line["best"] for line in found)
    capsys.readouterr()
    mbert("evaluate", run, "--json", *FLAGS)
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["overall"] == pytest.approx(kept["overall"], abs=1e-9)
    assert kept["parameters"]["encoder"] == 3 * first[0]["parameters"]["encoder"]
    assert kept["parameters"]["all"] == 3 * first[0]["parameters"]["all"]


def test_thresholds_are_fitted_to_the_ensemble(run, capsys):
    mbert("evaluate", run, "--tune-thresholds", "f1", "--calibrate", *FLAGS)
    capsys.readouterr()
    mbert("evaluate", run, "--json", *FLAGS)
    assert json.loads(capsys.readouterr().out)["tasks"]["same"]["decision"]["criterion"] == "f1"
    mbert("evaluate", run, "--reset", *FLAGS)


def test_an_interrupted_and_resumed_ensemble_is_byte_identical(run, recipe, monkeypatch):
    target = recipe.parent / "stopped"
    words = ["train", recipe, "-o", target, "training.members=3", *FLAGS]
    from mbert_cli.training.step import OptimizerStep

    step, taken = OptimizerStep.__call__, []

    def stopping(self, rows):
        taken.append(1)
        if len(taken) == 17:  # in the second member
            raise Stopped(15)
        return step(self, rows)

    monkeypatch.setattr(OptimizerStep, "__call__", stopping)
    with pytest.raises(Stopped):
        mbert(*words)
    monkeypatch.setattr(OptimizerStep, "__call__", step)
    assert [line["epoch"] for line in lines(target)] == [1]
    mbert(*words, "--resume")
    files = [path.relative_to(run / "model") for path in (run / "model").rglob("*.safetensors")]
    assert files
    for file in files:
        assert (target / "model" / file).read_bytes() == (run / "model" / file).read_bytes()
    assert [line["overall"] for line in lines(target)] == [line["overall"] for line in lines(run)]


def test_an_ensemble_with_a_changed_recipe_is_not_resumed(run, recipe):
    before = (run / "recipe.yaml").read_bytes()
    changed = r"cannot resume a changed run: training\.learning_rate was 0\.001 and is now 0\.002"
    with pytest.raises(UsageError, match=changed):
        mbert("train", recipe, "-o", run, "training.members=3", "training.learning_rate=2e-3", "--resume", *FLAGS)
    assert (run / "recipe.yaml").read_bytes() == before
    (run / "recipe.yaml").unlink()
    with pytest.raises(UsageError, match=f"members/1: {changed}"):
        mbert("train", recipe, "-o", run, "training.members=3", "training.learning_rate=2e-3", "--resume", *FLAGS)
    (run / "recipe.yaml").write_bytes(before)


def test_an_ensemble_with_a_budget_resumes_without_training_again(recipe, tmp_path, monkeypatch):
    words = ["train", recipe, "adapters=[{kind: low_rank, budget: 5%}]", "-o", tmp_path / "run", *FLAGS]
    mbert(*words, "training.members=2", "training.epochs=1")
    assert "budget" not in (tmp_path / "run" / "recipe.yaml").read_text()
    monkeypatch.setattr("mbert_cli.training.members.fit", lambda *_: pytest.fail("trained again"))
    calls, add = [], GrowingEnsemble.add
    monkeypatch.setattr("mbert_cli.training.members.make_reproducible", lambda _: calls.append("reproducible"))
    monkeypatch.setattr(GrowingEnsemble, "add", lambda *given: calls.append("scored") or add(*given))
    mbert(*words, "training.members=2", "training.epochs=1", "--resume")
    assert calls == ["reproducible", "scored", "scored"]


def test_an_ensemble_is_not_removed_if_the_new_one_cannot_start(run, recipe):
    before = sorted(path for path in run.rglob("*") if path.is_file())
    for setting in ("tasks.mood.train=nowhere.tsv", "adapters=[{kind: pal, budget: 1}]"):
        with pytest.raises(RecipeError):
            mbert("train", recipe, "-o", run, "training.members=2", setting, "--force", *FLAGS)
    assert sorted(path for path in run.rglob("*") if path.is_file()) == before


def test_an_ensemble_has_no_vectors(run, tmp_path):
    (tmp_path / "in.tsv").write_text("text\ncat\n")
    with pytest.raises(MbertError, match="embed with one of its members: RUN/members/1"):
        mbert("embed", run, tmp_path / "in.tsv", "-t", "mood", "-o", tmp_path / "v.npy", *FLAGS)


def test_the_seeds_of_members_are_derived_from_the_seed_of_the_run(recipe):
    loaded = load_recipe(str(recipe), ["training.members=3", "training.seed=5"])
    assert member_recipe(loaded, 1).training.seed == 5
    assert member_recipe(loaded, 2) == member_recipe(loaded, 2)
    assert member_recipe(loaded, 2).training.members == 1


def test_reports_and_counts_support_ensembles(run, capsys):
    mbert("report", run, "--json")
    assert json.loads(capsys.readouterr().out)["epochs"]["planned"] == 3
    mbert("report", run, "-o", run.parent / "page.html")
    assert "members of the ensemble" in (run.parent / "page.html").read_text()
