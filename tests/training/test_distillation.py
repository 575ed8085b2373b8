import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from components import every
from tiny_runs import options

from mbert_cli.batch import Batch, Layout
from mbert_cli.cli import app
from mbert_cli.errors import DataError, RecipeError, UsageError
from mbert_cli.heads.classification import Classification
from mbert_cli.heads.pair_classification import PairClassification
from mbert_cli.heads.regression import Regression
from mbert_cli.model.components import build, load_recipe
from mbert_cli.recipe.sections import Component
from mbert_cli.storage.metrics_file import Seconds
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.training.distillation import SoftLabels
from mbert_cli.training.dry_run import validate
from mbert_cli.training.fit import fit
from mbert_cli.training.portion import Portion


def outputs_of(head, examples=6):
    """Outputs for random vectors; the vectors of a pair are nearly equal, so that no cosine is negative."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(examples, 8, generator=generator)
    sides = [first, first + 0.1 * torch.randn(examples, 8, generator=generator), first][: len(head.sides)]
    late = [torch.rand(examples, generator=generator)] if head.late_interaction else []
    return head.eval()(*sides, *late).detach()


@every("heads")
def test_a_soft_label_with_probability_1_equals_the_label(kind, options):
    head = build("heads", Component(kind=kind, options=options), 8)
    outputs = outputs_of(head)
    labels = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    sure = [["0", "1", "0"] if label else ["1", "0", "0"] for label in labels]
    columns = len(head.labels.soft_columns)
    soft = torch.tensor([head.labels.parse_soft(each[:columns] if columns > 1 else each[1:2]) for each in sure])
    labels = soft if kind == "multi_label" else labels
    torch.testing.assert_close(head.soft_loss(outputs, soft), head.loss(outputs, labels))


@every("heads")
def test_predictions_of_a_head_are_valid_soft_labels(kind, options):
    head = build("heads", Component(kind=kind, options=options), 8)
    predicted = head.predict(outputs_of(head))
    rows = zip(*(predicted[name] for name in head.labels.soft_columns), strict=True)
    for row in rows:
        assert head.labels.parse_soft([f"{value:.6f}" for value in row]) == pytest.approx(list(row), abs=1e-6)


def test_the_loss_for_classes_is_the_weighted_cross_entropy_with_their_probabilities():
    head = Classification(8, num_classes=3, class_weights=[1.0, 2.0, 3.0])
    outputs = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]])
    soft = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]])
    weights, p, y = np.array([1, 2, 3]), soft.double().numpy(), outputs.double().numpy()
    logs = y - np.log(np.exp(y).sum(1, keepdims=True))
    assert float(head.soft_loss(outputs, soft)) == pytest.approx(-(weights * p * logs).sum() / (weights * p).sum())


@pytest.mark.parametrize(
    ("head", "texts", "what"),
    [
        (Classification(8, labels=["a", "b"]), ["0.4", "1.6"], "p_b must be a probability, but is '1.6'"),
        (Classification(8, labels=["a", "b"]), ["", "1"], "p_a must be a probability, but is ''"),
        (Classification(8, labels=["a", "b"]), ["nan", "1"], "p_a must be a probability, but is 'nan'"),
        (Classification(8, labels=["a", "b"]), [".4", ".5"],
         "the probability columns starting with p_a must add up to 1, but add up to 0.9"),
        (PairClassification(8), ["-0.1"], "score must be a probability, but is '-0.1'"),
        (Regression(8), ["5.1"], "pred must be a number from 0 to 5, but is '5.1'"),
    ],
)  # fmt: skip
def test_an_invalid_soft_label_is_refused_with_its_column(head, texts, what):
    with pytest.raises(ValueError, match="must") as error:
        head.labels.parse_soft(texts)
    assert str(error.value) == what


def test_probabilities_are_rounded_in_files():
    assert Classification(8, labels=["a", "b", "c"]).labels.parse_soft(["0.3333"] * 3) == [0.3333] * 3


def test_zero_probabilities_of_many_classes_are_refused():
    with pytest.raises(ValueError, match="must add up to 1, but add up to 0"):
        Classification(8, num_classes=5000).labels.parse_soft(["0"] * 5000)


@pytest.mark.parametrize(
    ("share", "step", "weight"),
    [
        (0.3, 0, 0.3),
        (0.3, 100, 0.3),
        (1.0, 50, 1.0),
        ("annealed", 0, 1.0),
        ("annealed", 25, 0.75),
        ("annealed", 100, 0.0),
        ("annealed", 150, 0.0),  # a run that continues after its planned end
        (None, 25, 0.0),
    ],
)
def test_the_loss_is_mixed_according_to_the_share(share, step, weight):
    head = PairClassification(8)
    outputs, labels, soft = torch.tensor([0.5, -2.0]), torch.tensor([1.0, 0.0]), torch.tensor([[0.3], [0.8]])
    ids = torch.zeros(2, dtype=torch.int64)
    batch = Batch(
        ids, ids, ids, Layout([1, 1]), ("same",), {"same": labels}, soft={} if share is None else {"same": soft}
    )
    expected = weight * head.loss(outputs, soft[:, 0]) + (1 - weight) * head.loss(outputs, labels)
    found = SoftLabels({"same": share}, 100).loss(head, outputs, Portion(batch, batch), "same", step)
    assert float(found) == pytest.approx(float(expected))


# Complete training runs


@pytest.fixture(scope="module")
def predicted(tiny_checkpoint, tiny_files, tmp_path_factory) -> Path:
    """A folder with the training files of the tiny recipe and a model's predictions for them."""
    here = tmp_path_factory.mktemp("predicted")
    recipe = load_recipe(
        str(tiny.write_recipe(here / "recipe.yaml", tiny_checkpoint, tiny_files)), ["training.epochs=1"]
    )
    folder = RunFolder(here / "teacher")
    with locked(folder):
        fit(recipe, folder, options())
    for name, task in recipe.tasks.items():
        arguments = ["predict", str(folder.path), task.train, "-t", name, "-o", str(here / f"{name}.tsv"), "-q"]
        app([*arguments, "--precision", "fp32"], standalone_mode=False)
    return here


@pytest.fixture
def taught(predicted, tmp_path) -> list[str]:
    """Settings that make the tasks of the tiny recipe read copies of these files."""
    files = {name: shutil.copy(predicted / f"{name}.tsv", tmp_path) for name in ("mood", "same", "near")}
    return [f"tasks.{name}.train={file}" for name, file in files.items()]


def train(recipe, folder: Path, settings, resume=False):
    place = RunFolder(folder)
    with locked(place, resume):
        fit(load_recipe(str(recipe), settings), place, options(resume=resume))
    return [replace(each, seconds=Seconds(0.0, 0.0)) for each in place.read_metrics()]


def shares(value) -> list[str]:
    return [f"tasks.{name}.soft_labels={value}" for name in ("mood", "same", "near")]


def test_a_model_learns_from_the_predictions_of_another(tiny_recipe, taught, tmp_path):
    plain = train(tiny_recipe, tmp_path / "a", taught)
    soft, again = (train(tiny_recipe, tmp_path / name, [*taught, *shares(0.5)]) for name in ("b", "c"))
    alone = train(tiny_recipe, tmp_path / "d", [*taught, *shares(1)])
    assert soft == again
    for task in ("mood", "same", "near"):
        losses = [run[0].train_loss[task] for run in (plain, soft, alone)]
        assert len(set(losses)) == 3
    # After one epoch, the teacher predicts values near the mean, which are easier to learn than random labels.
    assert alone[1].train_loss["near"] < plain[1].train_loss["near"]
    card = (tmp_path / "b" / "model" / "README.md").read_text()
    assert "- also trained on another model's predictions: mood, same, near\n" in card


def test_labels_have_no_effect_if_the_share_of_soft_labels_is_1(tiny_recipe, taught, tmp_path):
    losses = []
    for name in ("right", "wrong"):
        if name == "wrong":
            path = tmp_path / "mood.tsv"
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
                writer.writeheader()
                writer.writerows({**row, "mood": "low"} for row in rows)
        losses.append(train(tiny_recipe, tmp_path / name, [*taught, "tasks.mood.soft_labels=1"]))
    assert losses[0] == losses[1]


def test_texts_without_labels_can_be_used_with_their_predictions(tiny_recipe, taught, tmp_path):
    path = tmp_path / "mood.tsv"
    with path.open(newline="") as file:
        rows = [
            {key: cell for key, cell in row.items() if key != "mood"} for row in csv.DictReader(file, delimiter="\t")
        ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    settings = [*taught, "tasks.mood.label=pred", "tasks.mood.columns={pred: mood}", "tasks.mood.soft_labels=0.5"]
    found = train(tiny_recipe, tmp_path / "run", settings)
    assert found[-1].rows["mood"] == len(rows) == 20
    assert found[-1].tasks["mood"]["examples"] == 9  # the dev file, whose column is mood


def test_a_resumed_run_with_soft_labels_ends_with_the_same_weights(tiny_recipe, taught, tmp_path):
    settings = [*taught, *shares(0.5), "curriculum=simultaneous", "tasks.same.symmetric=true"]
    whole = train(tiny_recipe, tmp_path / "whole", settings)
    train(tiny_recipe, tmp_path / "half", [*settings, "training.epochs=1"])
    assert train(tiny_recipe, tmp_path / "half", settings, resume=True) == whole


def test_annealing_depends_on_the_length_of_the_run(tiny_recipe, taught, tmp_path):
    settings = [*taught, *shares("annealed"), "curriculum=simultaneous"]
    train(tiny_recipe, tmp_path / "run", settings)
    with pytest.raises(UsageError, match=r"training\.epochs was 2 and is now 3"):
        train(tiny_recipe, tmp_path / "run", [*settings, "training.epochs=3"], resume=True)


def test_annealing_counts_the_steps_of_the_run(tiny_recipe, taught, tmp_path, monkeypatch):
    seen = []
    loss = SoftLabels.loss

    def noted(self, head, outputs, batch, task, step):
        seen.append((task, step, self._total_steps))
        return loss(self, head, outputs, batch, task, step)

    monkeypatch.setattr(SoftLabels, "loss", noted)
    train(tiny_recipe, tmp_path / "run", [*taught, *shares("annealed"), "curriculum={kind: proportional, steps: 6}"])
    assert [step for _, step, _ in seen] == list(range(12))  # two epochs
    assert {total for *_, total in seen} == {12}
    assert {task for task, *_ in seen} == {"mood", "same", "near"}


def test_a_run_whose_soft_labels_have_changed_is_not_resumed(tiny_recipe, taught, tmp_path):
    settings = [*taught, *shares(0.5), "curriculum=simultaneous"]
    train(tiny_recipe, tmp_path / "run", [*settings, "training.epochs=1"])
    path = tmp_path / "same.tsv"
    header, row, *rest = path.read_text().splitlines()
    cells = row.split("\t")
    cells[header.split("\t").index("score")] = "0.987654"
    path.write_text("\n".join([header, "\t".join(cells), *rest, ""]))
    with pytest.raises(UsageError, match=r"data\.train\.same was"):
        train(tiny_recipe, tmp_path / "run", settings, resume=True)


def test_soft_labels_without_their_columns_are_refused(tiny_recipe, tmp_path):
    with pytest.raises(
        DataError,
        match=r"mood-train\.tsv:1: has no column 'p_low', needed as soft label of task mood \(mbert predict",
    ):
        train(tiny_recipe, tmp_path / "run", ["tasks.mood.soft_labels=0.5"])


def test_soft_labels_can_have_other_names_and_all_invalid_ones_are_reported_together(tiny_recipe, taught, tmp_path):
    path = tmp_path / "mood.tsv"
    header, *rows = path.read_text().splitlines()
    rows[:2] = [row.rpartition("\t")[0] + "\t" + odd for row, odd in zip(rows, ("none", "7"), strict=False)]
    path.write_text("\n".join([header.replace("p_low", "gloom"), *rows, ""]))
    settings = [*taught, "tasks.mood.soft_labels=0.5", "tasks.mood.columns={p_low: gloom}"]
    with pytest.raises(RecipeError) as error:
        validate(load_recipe(str(tiny_recipe), settings), tmp_path / "run", options(), measure=False)
    *problems, last = [each.split(f"{path}:")[1] for each in error.value.problems]
    assert [each.split(" ", 1)[0] for each in problems] == ["2:"]
    assert problems[0].endswith("and 1 more row has this problem (line 3).")
    assert last.startswith(" has 2 bad rows; correct them, or set tasks.mood.on_bad_row=skip.")
    assert "must be a probability, but is" in problems[0]
    with pytest.raises(
        RecipeError, match=r"tasks\.mood\.columns\.p_lwo is not a column of the task; did you mean 'p_low'"
    ):
        train(tiny_recipe, tmp_path / "run", [*settings[:-1], "tasks.mood.columns={p_lwo: gloom}"])


@pytest.mark.parametrize("value", ["0", "1.5", "true", "anealed", "-1", ".nan"])
def test_a_share_is_a_number_from_0_to_1_or_annealed(tiny_recipe, value):
    with pytest.raises(
        RecipeError, match=r"soft_labels must be annealed, or a share of the loss above 0 and at most 1"
    ):
        load_recipe(str(tiny_recipe), [f"tasks.mood.soft_labels={value}"])
