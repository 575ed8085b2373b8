import copy
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_recipe import REFERENCE, SMALL, TASK

from mbert_cli.errors import RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.recipe.reader import validate
from mbert_cli.recipe.recipe_file import read_document
from mbert_cli.recipe.sections import Recipe, as_spec
from mbert_cli.recipe.shipped import shipped_folder


def load(path: Path, *overrides: str) -> Recipe:
    return load_recipe(str(path), overrides)


def problems(path: Path, *overrides: str) -> list[str]:
    """Return the problems of a recipe, without the folder of the file."""
    with pytest.raises(RecipeError) as error:
        load(path, *overrides)
    return [line.replace(f"{path.parent}/", "") for line in error.value.problems]


def test_keys_that_are_left_out_have_their_defaults(write):
    recipe = load(write(SMALL))
    assert recipe.adapters == ()
    assert (recipe.pooling.kind, recipe.loss_balancing.kind, recipe.curriculum.kind) == ("mean", "total", "hybrid")
    assert recipe.training.seed == 11711
    assert recipe.training.learning_rate == 1e-5
    task = recipe.tasks["mood"]
    assert (task.test, task.id, task.quoting, task.delimiter, task.on_bad_row) == (None, "id", "auto", "auto", "error")


def test_one_text_column_may_be_written_without_a_list(write):
    assert load(write(SMALL)).tasks["mood"].text == ["sentence"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "poling: mean",
            "r.yaml:9: poling is not a known key; did you mean 'pooling'? Known: adapters, card, curriculum",
        ),
        ("training: {epoch: 3}", "r.yaml:9: training.epoch is not a known key; did you mean 'epochs'? Known: "),
        (
            "training: {windows: {}}",
            "r.yaml:9: training.windows is not a key of this section; write tasks.NAME.windows.",
        ),
        ("training: {fold: {}}", "r.yaml:9: training.fold is not a key of this section; write tasks.NAME.fold."),
        (
            "training: {checkpoint: x}",
            "r.yaml:9: training.checkpoint is not a key of this section; write encoder.checkpoint.",
        ),
        ("training: {pooling: cls}", "r.yaml:9: training.pooling is not a key of this section; write pooling."),
        ("epochs: 3", "r.yaml:9: epochs is not a key of this section; write training.epochs."),
        (
            "lr: 3",
            "r.yaml:9: lr is not a key of this section; write tasks.NAME.learning_rate or training.learning_rate.",
        ),
        ("training: {zzz: 3}", "r.yaml:9: training.zzz is not a known key. Known: "),
        ("training: {epochs: three}", "r.yaml:9: training.epochs must be a whole number, but is 'three'."),
        ("training: {epochs: 2.5}", "r.yaml:9: training.epochs must be a whole number, but is 2.5."),
        ("training: {epochs: '3'}", "r.yaml:9: training.epochs must be a whole number, but is '3'."),
        ("training: {epochs: true}", "r.yaml:9: training.epochs must be a whole number, but is True."),
        ("training: {epochs: 0}", "r.yaml:9: training.epochs must be at least 1, but is 0."),
        ("training: {learning_rate: 0}", "r.yaml:9: training.learning_rate must be greater than 0, but is 0"),
        ("training: {learning_rate: .inf}", "r.yaml:9: training.learning_rate must be a finite number, but is inf."),
        ("training: {learning_rate: .nan}", "r.yaml:9: training.learning_rate must be "),
        ("training: {warmup: 1.5}", "r.yaml:9: training.warmup must be at most 1, but is 1.5."),
        (
            "training: {schedule: cosinus}",
            "r.yaml:9: training.schedule must be 'constant', 'linear' or 'cosine', but is 'cosinus'.",
        ),
        (
            "training: {max_time: 30}",
            "r.yaml:9: training.max_time must be a time such as 45s, 30min or 2h, but is 30.",
        ),
        (
            "training: {max_time: 2d}",
            "r.yaml:9: training.max_time must be a time such as 45s, 30min or 2h, but is '2d'.",
        ),
        ("training: {patience: 0}", "r.yaml:9: training.patience must be at least 1, but is 0."),
        (
            "training: {evaluate_every: 10min}",
            "r.yaml:9: training.evaluate_every must be a whole number, but is '10min'.",
        ),
        ("training: {max_steps: 0}", "r.yaml:9: training.max_steps must be at least 1, but is 0."),
        (
            "training: {gradient_checkpointing: 1}",
            "r.yaml:9: training.gradient_checkpointing must be true or false, but is 1.",
        ),
        ("training: {seed: -1}", "r.yaml:9: training.seed must be at least 0, but is -1."),
        ("training: 3", "r.yaml:9: training must contain keys and values, but is 3."),
        ("training: [3]", "r.yaml:9: training must contain keys and values, but is [3]."),
        ("pooling: {kind: men}", "r.yaml:9: pooling.kind is 'men'; did you mean 'mean'? Known: cls, max, mean."),
        ("pooling: {pooler: true}", "r.yaml:9: pooling must name a kind, such as {kind: mean}."),
        ("pooling: {kind: 3}", "r.yaml:9: pooling must name a kind, such as {kind: mean}."),
        ("adapters: {kind: top}", "r.yaml:9: adapters must be a list, such as "),
        ("adapters: [{rank: 3}]", "r.yaml:9: adapters[0] must name a kind"),
        ("adapters:\n- top\n- kind: lowrank", "r.yaml:11: adapters[1].kind is 'lowrank'; did you mean 'low_rank'?"),
        (
            "curriculum: hybird",
            "r.yaml:9: curriculum.kind is 'hybird'; did you mean 'hybrid'? Known: annealed, hybrid, ",
        ),
    ],
)
def test_a_problem_is_reported_with_its_line(write, line, message):
    (problem,) = problems(write(f"{SMALL}{line}\n"))
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    train: train.tsv\n", "", "r.yaml:3: tasks.mood.train is missing."),
        ("train.tsv", "12", "r.yaml:4: tasks.mood.train must be a string, but is 12."),
        ("train.tsv", "''", "r.yaml:4: tasks.mood.train is empty."),
        (
            "train.tsv",
            r'"a\0b"',
            r"r.yaml:4: tasks.mood.train is 'a\x00b', but a file name cannot contain a NUL character.",
        ),
        ("train.tsv", r'"~a\0b"', r"r.yaml:4: tasks.mood.train is '~a\x00b', but a file name cannot contain a NUL"),
        ("train.tsv", f"[{'x' * 5000}]", f"r.yaml:4: tasks.mood.train must be a string, but is ['{'x' * 198}..."),
        ("train.tsv", "${NOT_SET_ANYWHERE}/x", "r.yaml:4: tasks.mood.train uses ${NOT_SET_ANYWHERE}, which is not set"),
        ("sentence", "[a, b, c]", "r.yaml:6: tasks.mood.text "),
        ("sentence", "[]", "r.yaml:6: tasks.mood.text "),
        ("sentence", "[a, 3]", "r.yaml:6: tasks.mood.text[1] must be a string, but is 3."),
        (
            "label: mood",
            "label: mood\n    quoting: python",
            "r.yaml:8: tasks.mood.quoting must be 'auto', 'csv' or 'none', but",
        ),
        ("label: mood", "lable: mood", "r.yaml:7: tasks.mood.lable is not a known key; did you mean 'label'? Known"),
        (
            "num_classes: 3",
            "num_classes: 1",
            "r.yaml:8: tasks.mood.head.num_classes must be at least 2",
        ),
        (", num_classes: 3", "", "r.yaml:8: tasks.mood.head.num_classes or labels must say which classes there are."),
        ("{kind: classification, num_classes: 3}", "12", "r.yaml:8: tasks.mood.head must name a kind, such as"),
    ],
)
def test_a_problem_of_a_task_is_reported_with_its_line(write, old, new, message):
    assert any(problem.startswith(message) for problem in problems(write(SMALL.replace(old, new))))


def test_several_problems_are_reported_at_once(write):
    text = SMALL.replace("    dev: dev.tsv\n", "    test: 3\n").replace("num_classes", "num_clases")
    found = problems(write(text + "pooling: {kind: sum}\ntraining:\n  epochs: x\n  batch_size: 0\n"))
    assert {re.match(r"r\.yaml:\d+: [\w.]+", line)[0] for line in found} == {
        "r.yaml:3: tasks.mood.dev",
        "r.yaml:5: tasks.mood.test",
        "r.yaml:8: tasks.mood.head.num_clases",
        "r.yaml:9: pooling.kind",
        "r.yaml:11: training.epochs",
        "r.yaml:12: training.batch_size",
    }
    assert len(found) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "encoder is missing; it needs checkpoint."),
        (
            "tasks: {}",
            "encoder is missing; it needs checkpoint. To train its tasks on the encoder of a trained model, use mbert "
            "add-task.",
        ),
        ("", "tasks must contain at least one task"),
        ("tasks: {}\n", "r.yaml:1: tasks must contain at least one task"),
        ("tasks: [a]\n", "r.yaml:1: tasks must contain at least one task"),
        ("tasks: {mood: 3}\n", "r.yaml:1: tasks.mood must contain keys and values, but is 3."),
        ("tasks: {mood: null}\n", "r.yaml:1: tasks.mood "),
        ("encoder: bert\n", "r.yaml:1: encoder must contain keys and values, but is 'bert'."),
        ("encoder: {checkpoint: 3}\n", "r.yaml:1: encoder.checkpoint must be a string, but is 3."),
        ("encoder: {checkpoint: x, sha256: abc}\n", "r.yaml:1: encoder.sha256 "),
    ],
)
def test_a_section_that_is_missing_or_not_a_mapping_is_reported(write, text, message):
    assert any(message in problem for problem in problems(write(text)))


@pytest.mark.parametrize("name", ["sst", "SST-2", "a", "2020", "x_y", "a" * 64])
def test_task_names_of_letters_digits_and_dashes_are_allowed(write, name):
    assert list(load(write(SMALL.replace("mood:\n", f"{name}:\n"))).tasks) == [name]


@pytest.mark.parametrize(
    "name", ["../x", "''", ".", "a/b", "'a b'", "-a", "_a", "ü", "a.b", "a" * 65, r'"a\nb"', r'"a\n"']
)
def test_task_names_that_do_not_fit_a_file_name_are_refused(write, name):
    (problem,) = problems(write(SMALL.replace("mood:\n", f"{name}:\n")))
    assert problem.startswith("r.yaml:3: tasks.")
    assert "must be a name of at most 64 letters, digits, - and _ that begins with a letter or digit." in problem


def test_a_path_is_relative_to_the_file_that_contains_it(write, tmp_path, monkeypatch):
    write(SMALL, "deep/parent.yaml")
    child = write("extends: deep/parent.yaml\ntasks: {mood: {dev: mine.tsv}}\n")
    monkeypatch.chdir("/")
    task = load(child).tasks["mood"]
    assert (task.train, task.dev) == (str(tmp_path / "deep" / "train.tsv"), str(tmp_path / "mine.tsv"))


def test_a_path_of_an_override_is_relative_to_the_working_folder(write, tmp_path, monkeypatch):
    path = write(SMALL, "recipes/r.yaml")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    task = load(path, "tasks.mood.train=mine.tsv").tasks["mood"]
    assert (task.train, task.dev) == (str(tmp_path / "here" / "mine.tsv"), str(tmp_path / "recipes" / "dev.tsv"))


@pytest.mark.parametrize(
    ("checkpoint", "found"),
    [
        ("bert-base-uncased", "bert-base-uncased"),
        ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("package:some_package/model", "package:some_package/model"),
        ("./model", "{folder}/model"),
        ("../model", "{parent}/model"),
        ("{folder}/model", "{folder}/model"),
        ("here", "{folder}/here"),
        ("${MBERT_TEST_FOLDER}", "{parent}"),
        ("${MBERT_TEST_UNSET:-bert-base-cased}", "{cwd}/bert-base-cased"),
    ],
)
def test_a_checkpoint_is_a_hub_name_unless_it_looks_like_a_path(write, tmp_path, monkeypatch, checkpoint, found):
    monkeypatch.setenv("MBERT_TEST_FOLDER", str(tmp_path.parent))
    monkeypatch.delenv("MBERT_TEST_UNSET", raising=False)
    (tmp_path / "here").mkdir()
    names = {"folder": tmp_path, "parent": tmp_path.parent, "cwd": Path.cwd()}
    if not checkpoint.startswith("$"):
        checkpoint = checkpoint.format(**names)
    recipe = load(write(SMALL.replace("bert-base-uncased", f"'{checkpoint}'")))
    assert recipe.encoder.checkpoint == found.format(**names)


@pytest.mark.parametrize("path", ["~no-such-user-here/train.tsv", "x" * 5000])
def test_a_path_that_cannot_exist_raises_only_our_own_errors(write, path):
    try:
        load(write(SMALL.replace("train.tsv", path).replace("bert-base-uncased", path)))
    except RecipeError as error:
        assert "r.yaml:" in str(error)  # noqa: PT017 -- the path may also be accepted here and refused later


def test_a_path_in_a_folder_whose_name_is_not_utf8_is_refused(write, tmp_path, monkeypatch):
    monkeypatch.setenv("MBERT_TEST", "\udcff")
    (problem,) = problems(write(SMALL.replace("train.tsv", "${MBERT_TEST}/t.tsv")))
    assert problem.startswith("r.yaml:4: tasks.mood.train is '")
    assert problem.endswith(r"\udcff/t.tsv', which is not UTF-8; rename the file or the folder.")


def test_a_path_that_begins_with_a_variable_is_relative_to_the_working_folder(write, tmp_path, monkeypatch):
    monkeypatch.setenv("MBERT_TEST", "data")
    path = write(
        SMALL.replace("train.tsv", "${MBERT_TEST}/t.tsv").replace("dev.tsv", "${NO:-else}/d.tsv"), "deep/r.yaml"
    )
    monkeypatch.chdir(tmp_path)
    task = load(path).tasks["mood"]
    assert (task.train, task.dev) == (str(tmp_path / "data" / "t.tsv"), str(tmp_path / "else" / "d.tsv"))


def test_null_removes_a_task_and_its_problems(write):
    write(SMALL + TASK.replace("mood:\n", "other:\n").replace("num_classes: 3", "num_classes: x"), "parent.yaml")
    child = write("extends: parent.yaml\ntasks: {other: null}\n")
    assert list(load(child).tasks) == ["mood"]


def test_a_reference_is_optional(write):
    recipe = load(write(SMALL))
    assert recipe.reference is None
    assert load(write(recipe.to_yaml(), "again.yaml")).reference is None


@pytest.mark.parametrize("value", ["null", "", "{source: mine, scores: {mood: -1}}"])
def test_a_child_may_remove_or_replace_its_parents_reference(write, value):
    write(SMALL + REFERENCE, "parent.yaml")
    reference = load(write(f"extends: parent.yaml\nreference: {value}\n")).reference
    assert (reference and dict(reference.scores)) == ({"mood": -1} if value.startswith("{") else None)
    assert load(write("extends: parent.yaml\n"), "reference=null").reference is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "{source: x, scores: {mod: 0.5}}",
            "reference.scores.mod is not a task of the recipe; did you mean 'mood'? Known: mood. "
            "`reference: null` removes all scores.",
        ),
        ("{source: x, scores: {mood: 1.01}}", "reference.scores.mood must be at most 1, but is 1.01."),
        ("{source: x, scores: {mood: -2}}", "reference.scores.mood must be at least -1, but is -2."),
        ("{source: x, scores: {mood: .nan}}", "reference.scores.mood must be a finite number, but is nan."),
        ("{source: x, scores: {mood: high}}", "reference.scores.mood must be a number, but is 'high'."),
        ("{source: x, scores: {mood: true}}", "reference.scores.mood must be a number, but is True."),
        ("{source: x, scores: {}}", "reference.scores is empty."),
        ("{source: x, scores: 3}", "reference.scores must contain keys and values, but is 3."),
        ("{source: x}", "reference.scores is missing."),
        ("{source: '', scores: {mood: 1}}", "reference.source is empty."),
        ("{scores: {mood: 1}}", "reference.source is missing."),
        ("{source: x, scores: {mood: 1}, url: y}", "reference.url is not a known key. Known: scores, source."),
        ("paper", "reference must contain keys and values, but is 'paper'."),
    ],
)
def test_a_problem_of_a_reference_is_reported_with_its_line(write, line, message):
    assert problems(write(f"{SMALL}reference: {line}\n")) == [f"r.yaml:9: {message}"]


def test_a_reference_to_a_task_that_was_removed_is_refused(write):
    path = write(SMALL + TASK.replace("mood:", "tone:") + REFERENCE)
    (problem,) = problems(path, "tasks.mood=null")
    assert problem.startswith("r.yaml:15: reference.scores.mood is not a task of the recipe")


def test_a_document_can_be_checked_twice(tiny_recipe):
    document = read_document(tiny_recipe)
    first = validate(copy.deepcopy(document), lambda *_: [])
    assert as_spec(validate(document, lambda *_: [])) == as_spec(first)


DEMO = (shipped_folder() / "demo.yaml").read_text(encoding="utf-8")
CHARACTERS = st.sampled_from(list(" \t\n:,[]{}&*!|>'\"%@`#-?<~$.0123456789eabz_=é\u2028\x85\x07\ufeff"))
EDIT = st.tuples(
    st.sampled_from(["delete", "double", "replace", "drop line", "double line"]), st.floats(0, 1), CHARACTERS
)


def edited(text: str, edit: tuple[str, float, str]) -> str:
    """Return a recipe with one character or line deleted, doubled or replaced."""
    what, where, character = edit
    if "line" in what:
        lines = text.splitlines(keepends=True) or [""]
        at = min(int(where * len(lines)), len(lines) - 1)
        lines[at : at + 1] = [] if what == "drop line" else [lines[at]] * 2
        return "".join(lines)
    at = min(int(where * len(text)), max(0, len(text) - 1))
    middle = {"delete": "", "double": text[at : at + 1] * 2, "replace": character}[what]
    return text[:at] + middle + text[at + 1 :]


@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(EDIT, min_size=1, max_size=6))
def test_a_damaged_recipe_loads_or_is_refused(tmp_path, edits):
    text = DEMO
    for edit in edits:
        text = edited(text, edit)
    path = tmp_path / "damaged.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        recipe = load(path)
    except RecipeError as error:
        assert error.problems  # noqa: PT017
        assert all(str(path) in problem for problem in error.problems)  # noqa: PT017
    else:
        assert isinstance(recipe, Recipe)
