"""`mbert add-task`: new tasks on the frozen encoder of a trained model."""

import csv
import json
import re
import shutil

import pytest
import tiny
from crashes import contents, dying_after
from tiny_runs import options

from mbert_cli import add_task
from mbert_cli.cli import app
from mbert_cli.errors import MbertError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.saved_parts import ModelFiles
from mbert_cli.storage.atomic import check_folder, hashes_in
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.added_tasks import encoder_of, recipe_of_new_tasks
from mbert_cli.training.fit import fit

FP32 = ("--precision", "fp32")


def mbert(*words):
    app([*map(str, words), "-q"], standalone_mode=False)


def add(run, recipe, output, *settings, resume=False):
    """Do what `mbert add-task` does. Commands turn the interrupt of a test into an exit code."""
    output.mkdir(exist_ok=True)
    base = ModelFiles.of(run)
    loaded = load_recipe(str(recipe), [*settings, f"encoder.checkpoint={run}"])
    recipe = recipe_of_new_tasks(loaded, base, [], encoder_of(base))
    fit(recipe, RunFolder(output), options(resume=resume, base=base))


@pytest.fixture(scope="module")
def made(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A trained run, a recipe with two new tasks, and the run to which they were added."""
    folder = tmp_path_factory.mktemp("added")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    values = json.loads(recipe.read_text(encoding="utf-8"))
    tasks = {"tone": values["tasks"]["mood"], "twin": values["tasks"]["same"]}
    # Without an encoder: it is that of the run.
    new = {"adapters": [{"kind": "top"}], "tasks": tasks, "training": values["training"]}
    (folder / "new.yaml").write_text(json.dumps(new), encoding="utf-8")
    mbert("train", recipe, "-o", folder / "run", "training.epochs=1", "curriculum=simultaneous", *FP32)
    mbert("add-task", folder / "run", folder / "new.yaml", "-o", folder / "more", *FP32)
    return folder


def predictions(run, task, rows, output):
    mbert("predict", run, rows, "-t", task, "-o", output, "-F", *FP32)
    return output.read_bytes()


def test_files_and_predictions_of_other_tasks_do_not_change(made, tiny_files, tmp_path):
    before, after = (hashes_in(made / run / "model") for run in ("run", "more"))
    kept = {name: sha256 for name, sha256 in before.items() if name.startswith(("encoder/", "tasks/"))}
    assert {name: after[name] for name in kept} == kept
    assert sorted(after.keys() - before.keys()) == ["tasks/tone.safetensors", "tasks/twin.safetensors"]
    check_folder(made / "more" / "model")
    for task in ("mood", "same"):
        rows = tiny_files / f"{task}-dev.tsv"
        old, new = (predictions(made / run, task, rows, tmp_path / f"{run}.tsv") for run in ("run", "more"))
        assert old == new
    part = "model/encoder/model.safetensors"
    assert (made / "more" / part).samefile(made / "run" / part)


def test_an_added_task_has_the_weights_of_a_run_of_the_same_recipe_on_the_frozen_encoder(made, tmp_path):
    mbert("train", made / "more" / "recipe.yaml", "-o", tmp_path / "alone", *FP32)
    alone, more = (hashes_in(run / "model") for run in (tmp_path / "alone", made / "more"))
    for task in ("tone", "twin"):
        assert alone[f"tasks/{task}.safetensors"] == more[f"tasks/{task}.safetensors"]


def test_metrics_card_and_config_describe_the_new_tasks(made):
    lines = [json.loads(line) for line in (made / "more" / "metrics.jsonl").read_text().splitlines()]
    assert [sorted(line["tasks"]) for line in lines] == [["tone", "twin"]] * 2
    config = json.loads((made / "more" / "model" / "config.json").read_text())
    before = json.loads((made / "run" / "model" / "config.json").read_text())
    best = max(lines, key=lambda line: line["overall"])
    assert list(config["tasks"]) == ["mood", "same", "near", "tone", "twin"]
    assert config["scores"]["tasks"] == {**before["scores"]["tasks"], **best["tasks"]}
    assert config["encoder"] == before["encoder"]
    assert config["task_adapters"].keys() == {"tone", "twin"}
    card = (made / "more" / "model" / "README.md").read_text()
    assert "BERT encoder for 5 tasks" in card
    assert "tone:\n\n- adapters: top; pooling: mean\n- loss balancing: total; curriculum: hybrid; 2 epochs" in card


def test_features_are_cached_unless_an_adapter_acts_inside_the_encoder_or_the_recipe_forbids_it(made, tmp_path):
    assert load_recipe(str(made / "more" / "recipe.yaml")).training.cache_features
    words = ("training.epochs=1", "-t", "tone")
    for name, setting in (("inner", "adapters=[{kind: low_rank, rank: 2}]"), ("off", "training.cache_features=false")):
        mbert("add-task", made / "run", made / "new.yaml", setting, *words, "-o", tmp_path / name)
        recipe = load_recipe(str(tmp_path / name / "recipe.yaml"))
        assert not recipe.training.cache_features
        assert recipe.training.freeze_encoder


def test_a_dry_run_checks_everything_and_writes_nothing(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mbert("add-task", made / "run", made / "new.yaml", "-o", "x", "--dry-run", *FP32)
    assert re.match(
        r"no problems found; about .*: \d+ steps in .*, dev files in .* MB while it runs", capsys.readouterr().out
    )
    with pytest.raises(MbertError, match=r"tasks\.tone\.dev: .*gone\.tsv") as error:
        mbert("add-task", made / "run", made / "new.yaml", "-o", "x", "--dry-run", "tasks.tone.dev=gone.tsv", *FP32)
    assert len(error.value.problems) == 1
    mbert("add-task", made / "run", made / "new.yaml", "-t", "tone", "--dry-run", *FP32)
    assert capsys.readouterr().out.startswith("no problems found; about ")
    assert not any(tmp_path.iterdir())


def test_python_adds_the_same_tasks_as_the_command_from_files_or_data_frames(made, tiny_files, tmp_path):
    values = json.loads((made / "new.yaml").read_text())
    with (
        (tiny_files / "mood-train.tsv").open(newline="") as train,
        (tiny_files / "mood-dev.tsv").open(newline="") as dev,
    ):
        data = {
            "tone": {
                "train": list(csv.DictReader(train, delimiter="\t")),
                "dev": list(csv.DictReader(dev, delimiter="\t")),
            }
        }
    run = add_task(made / "run", values, tmp_path / "more", data=data, device="cpu", precision="fp32")
    assert hashes_in(run.path / "model").keys() == hashes_in(made / "more" / "model").keys()
    for task in ("tone", "twin"):
        file = f"tasks/{task}.safetensors"
        assert hashes_in(run.path / "model")[file] == hashes_in(made / "more" / "model")[file]
    assert sorted(run.scores) == ["tone", "twin"]
    assert run.predictor().tasks == ("mood", "same", "near", "tone", "twin")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["ton"]}, r"-t ton: the recipe has no task 'ton'; did you mean 'tone'\?"),
        ({"resume": True, "force": True}, r"resume and force cannot be used together\."),
        ({"settings": ["pooling=cls"]}, r"pooling is cls, but all tasks of .*run use mean; remove it"),
        ({"output": "run"}, r"run: is RUN itself; choose another -o\."),
        ({"encoder": "y"}, r"contains its encoder"),
        ({"settings": ["tasks.ton.dev=x"]}, r"the recipe has no task 'ton'; did you mean 'tone'\?"),
    ],
)
def test_mistakes_in_python_have_the_messages_of_the_command(options, message, made, tmp_path):
    output = made / options.pop("output") if "output" in options else tmp_path / "x"
    with pytest.raises(MbertError, match=message):
        add_task(made / "run", made / "new.yaml", output, **options)
    assert not any(tmp_path.iterdir())


def test_a_resumed_run_has_the_same_files_as_an_uninterrupted_run(made, tmp_path):
    words = (made / "run", made / "new.yaml", tmp_path / "more")
    with dying_after(1):
        add(*words)
    add(*words, resume=True)
    add(made / "run", made / "new.yaml", tmp_path / "whole")
    ours, whole = contents(tmp_path / "more"), contents(tmp_path / "whole")
    assert ours.keys() == whole.keys()
    assert [name for name in ours if ours[name] != whole[name]] == []


def test_tasks_can_be_added_to_a_model_with_added_tasks(made, tmp_path):
    words = ("-t", "tone", "training.epochs=1", "-o", tmp_path / "most")
    mbert("tasks", "rename", made / "more", "tone", "sound", "-o", tmp_path / "renamed")
    mbert("add-task", tmp_path / "renamed", made / "new.yaml", *words)
    names = {name for name in hashes_in(tmp_path / "most" / "model") if name.startswith("tasks/")}
    assert names == {f"tasks/{name}.safetensors" for name in ("mood", "same", "near", "sound", "twin", "tone")}


def test_a_run_is_not_resumed_if_the_model_that_it_extends_has_changed(made, tmp_path):
    run = shutil.copytree(made / "run", tmp_path / "run")
    words = (run, made / "new.yaml", tmp_path / "more", "tasks.twin=null")
    with dying_after(1):
        add(*words)
    mbert("tasks", "rename", run, "near", "close")
    with pytest.raises(MbertError, match=r"cannot resume a changed run: base was '[0-9a-f]{8}\.\.\.' and is now"):
        add(*words, resume=True)


MISTAKES = {
    "no output": ("{run} {new}", r"-o DIR is missing; give the folder of the new run\."),
    "the run as output": ("{run} {new} -o {run} -F", r"run: is RUN itself; choose another -o\."),
    "the model as output": ("{run} {new} -o {run}/model", r"model: is RUN itself; choose another -o\."),
    "an output that exists": (
        "{run} {new} -o {more}",
        r"more exists and contains a run; continue it with --resume, or",
    ),
    "resume and force": ("{run} {new} -o x --resume -F", r"--resume and --force cannot be used together\."),
    "nothing to resume": ("{run} {new} -o x --resume", r"x contains no run to resume; leave out --resume to start one"),
    "a recipe of known tasks": ("{run} {old} -o x", r"run: already has a task 'mood'; rename it in the recipe\."),
    "a known task among new ones": (
        "{run} {new} tasks.mood={{train: a, dev: b, text: c, label: d, head: {{kind: pair_classification}}}} -o x",
        r"run: already has a task 'mood'; choose the new ones: -t tone -t twin\.",
    ),
    "a misspelt task": ("{run} {new} -t ton -o x", r"-t ton: the recipe has no task 'ton'; did you mean 'tone'\?"),
    "a recipe without tasks": ("{run} {new} tasks=null -o x", r"tasks must contain at least one task: a name with tr"),
    "a recipe that trains the encoder": (
        "{run} {new} training.freeze_encoder=false -o x",
        r"training.freeze_encoder is false, but mbert add-task does not train the encoder; remove it, or train all",
    ),
    "another encoder": (
        "{run} {new} encoder.checkpoint=y -o x",
        r"^'encoder.checkpoint=y': mbert add-task trains on the encoder of RUN; remove this setting, or",
    ),
    "new initial values": ("{run} {new} encoder.reinitialise=1 -o x", r"encoder.reinitialise is 1, but mbert add-task"),
    "an ensemble": ("{run} {new} training.members=2 -o x", r"training.members is 2, but mbert add-task trains one mo"),
    "another pooling": ("{run} {new} pooling=cls -o x", r"pooling is cls, but all tasks of .*run use mean; remove it"),
    "longer texts": ("{run} {new} training.max_length=12 -o x", r"read 16 tokens; remove it, and read longer texts wi"),
    "no recipe": ("{run} nowhere.yaml -o x", r"nowhere\.yaml"),
    "no run": ("nowhere {new} -o x", r"nowhere: there is no such run folder; mbert train writes one with -o\."),
    "a moved encoder that the model contains": ("{run} {new} --encoder y -o x", r"contains its encoder; remove --enco"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_prints_one_line_with_the_remedy_and_writes_nothing(name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, message = MISTAKES[name]
    places = {"run": made / "run", "more": made / "more", "new": made / "new.yaml", "old": made / "recipe.yaml"}
    # A setting with spaces is one word.
    words = [word.format(**places) for word in command.replace(": ", ":\0").replace(", ", ",\0").split()]
    with pytest.raises(MbertError, match=message) as error:
        mbert("add-task", *(word.replace("\0", " ") for word in words))
    assert len(error.value.problems) == 1
    assert not any(tmp_path.iterdir())
