"""Tasks with thousands of classes: memory, files and tables do not grow with the square of their number."""

import json
import tracemalloc

import numpy as np
import pytest
import tiny
import torch
from commands import mbert
from word_salad import sentences

from mbert_cli.calibration import negative_log_likelihood
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.errors import RecipeError
from mbert_cli.heads.classification import Classification
from mbert_cli.metrics import classification_metrics
from mbert_cli.model.components import load_recipe
from mbert_cli.recipe.differences import differences
from mbert_cli.reports.confusion import Confusion
from mbert_cli.reports.evaluation_folder import Evaluation, Predictions, write_evaluation
from mbert_cli.reports.figures import draw
from mbert_cli.reports.largest_errors import top_errors
from mbert_cli.training.data_summary import TaskFacts

NUMBER = 4000
NAMES = [f"intent-{i}" for i in range(NUMBER)]


def peak_of(call):
    """Return the result of a call and its peak memory in bytes."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def labelled():
    """True and predicted classes of 300 rows; class 7 is predicted for class 5 eleven times."""
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, NUMBER, 300), rng.integers(0, NUMBER, 300)
    labels[:20], predicted[:11], predicted[11:20] = 5, 7, 5
    return labels, predicted


def test_metrics_of_four_thousand_classes_are_small(labelled):
    labels, predicted = labelled
    classification_metrics(predicted % 2, labels % 2, NAMES[:2], positive=None)  # imports scikit-learn
    found, peak = peak_of(lambda: classification_metrics(predicted, labels, NAMES, positive=None))
    assert peak < 20e6  # a matrix of 64-bit numbers is 128 MB
    assert len(json.dumps(found)) < 200_000  # it was 123 MB
    assert "confusion" not in found
    assert sum(count for *_, count in found["confusion_entries"]) == 300
    assert [5, 7, 11] in found["confusion_entries"]
    assert [5, 5, 9] in found["confusion_entries"]


def test_scores_of_many_classes_equal_those_of_scikit_learn(labelled):
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    labels, predicted = labelled
    found = classification_metrics(predicted, labels, NAMES, positive=None)
    assert found["accuracy"] == accuracy_score(labels, predicted)
    theirs = f1_score(labels, predicted, labels=range(NUMBER), average="macro", zero_division=0)
    assert found["macro"]["f1"] == pytest.approx(theirs)
    precision, recall, *_ = precision_recall_fscore_support(labels, predicted, labels=[5], zero_division=0)
    assert found["per_class"]["intent-5"]["precision"] == pytest.approx(precision[0])
    assert found["per_class"]["intent-5"]["recall"] == pytest.approx(recall[0])
    assert set(found["per_class"]) == {NAMES[i] for i in {*labels.tolist(), *predicted.tolist()}}


def test_both_forms_of_a_confusion_matrix_are_read_equally():
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([1, 1, 0, 1, 0])
    few = classification_metrics(predicted, labels, NAMES[:3], positive=None)
    many = classification_metrics(predicted, labels, NAMES[:101], positive=None)
    dense, sparse = Confusion.of(few), Confusion.of(many)
    assert dense.entries == sparse.entries == [(0, 0, 1), (0, 1, 2), (1, 1, 1), (2, 0, 1)]
    assert [(each.label, each.predicted, each.count, each.share) for each in sparse.mistakes(1)] == [
        ("intent-0", "intent-1", 2, 2 / 3)
    ]
    part = sparse.of_most_frequent(2)
    assert (part.labels, part.matrix()) == (["intent-0", "intent-1"], [[1, 2], [0, 1]])
    assert part.shares() == [[1 / 3, 2 / 3], [0, 1]]
    assert Confusion.of({"pearson": 0.5}) is None


def test_files_and_figures_of_many_classes_are_small(labelled, tmp_path):
    labels, predicted = labelled
    metrics = {"examples": 300, **classification_metrics(predicted, labels, NAMES, positive=None)}
    columns = {"pred": [NAMES[i] for i in predicted], "probability": [0.5] * 300}
    part = Predictions(list(range(2, 302)), [NAMES[i] for i in labels], columns)
    evaluation = Evaluation({"split": "dev", "tasks": {"mood": metrics}, "overall": 0.5}, {"mood": [part]})
    write_evaluation(tmp_path, evaluation)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 500_000
    header, *lines = (tmp_path / "mood_confusion.tsv").read_text().splitlines()
    assert header == "true label\tpredicted label\trows\tshare"
    assert "intent-5\tintent-7\t11\t0.55" in lines
    drawn = draw(tmp_path, tmp_path / "none.jsonl")
    assert len(drawn["mood_confusion.svg"]) < 2_000_000
    assert b"the 50 most frequent of 4,000 classes" in drawn["mood_confusion.svg"]
    (error, *_) = top_errors(tmp_path, "mood", NAMES, 3)
    assert error.size == 0.5


def test_a_head_of_many_classes_copies_its_outputs_in_parts():
    head = Classification(4, num_classes=10_000).eval()
    outputs, labels = torch.randn(2_000, 10_000), torch.arange(2_000.0)
    found = head.metrics(outputs, labels)
    probabilities = outputs.softmax(-1)
    assert found["accuracy"] == pytest.approx(float((outputs.argmax(-1) == labels).double().mean()))
    brief = head.predict_briefly(outputs[:50])
    assert brief["pred"] == [str(int(i)) for i in outputs[:50].argmax(-1)]
    assert brief["probability"] == pytest.approx(probabilities[:50].max(-1).values.tolist())
    logits = outputs.numpy()
    loss, peak = peak_of(lambda: negative_log_likelihood(logits, labels.numpy().astype(int), 2.0))
    assert peak < logits.nbytes * 2  # two copies as 64-bit numbers would be four times as large
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(outputs / 2, labels.long())), rel=1e-5)


def test_classes_are_counted_and_only_a_few_are_named():
    facts = TaskFacts(
        train=8000, dev=300, bad=0, known=0, unseen=NAMES[:500], batches=250, tokens=8.0, cut=0.0,
        shares=dict.fromkeys(NAMES, 1 / NUMBER), span=None, remarks=[],
    )  # fmt: skip
    assert facts.labels().startswith("4,000 classes: intent-0 <1%, intent-1 ")
    assert facts.labels().endswith(" and 3,994 more")
    (warning,) = facts.warnings("many", LengthLimits(128, 512))
    assert "and 494 more" in warning
    assert len(warning) < 300


def test_changed_labels_are_one_short_sentence():
    then, now = {"labels": NAMES}, {"labels": [*NAMES[:3000], "other", *NAMES[3001:]]}
    assert differences(then, now) == ["labels[3000] was 'intent-3000' and is now 'other'"]


def test_labels_of_a_wrong_type_are_one_short_line(tiny_recipe):
    recipe = json.loads(tiny_recipe.read_text())
    recipe["tasks"]["mood"]["head"]["labels"] = list(range(NUMBER))
    tiny_recipe.write_text(json.dumps(recipe))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tiny_recipe))
    (problem,) = caught.value.problems
    assert len(problem) < 600


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tmp_path_factory):
    """A run of one task with 1,500 classes."""
    folder, number = tmp_path_factory.mktemp("many"), 1500
    for split, rows in (("train", number), ("dev", 60)):
        texts = sentences(rows, {"train": 1, "dev": 2}[split])
        lines = [f"{text}\tintent-{i * 7 % number}" for i, text in enumerate(texts)]
        (folder / f"{split}.tsv").write_text("\n".join(["text\tintent", *lines]) + "\n")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, folder)
    plain = json.loads(recipe.read_text())
    head = {"kind": "classification", "labels": NAMES[:number]}
    plain["tasks"] = {
        "intent": {"train": "train.tsv", "dev": "dev.tsv", "text": "text", "label": "intent", "head": head}
    }
    plain["training"] |= {"epochs": 1, "batch_size": 128}
    recipe.write_text(json.dumps(plain))
    done = mbert("train", "recipe.yaml", "-o", "run", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_all_outputs_of_a_run_with_many_classes_are_small(run):
    assert (run / "metrics.jsonl").stat().st_size < 60_000
    assert sum(each.stat().st_size for each in (run / "evaluation").iterdir()) < 200_000
    done = mbert("evaluate", "run", "--calibrate", "--top-errors", "2", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert "the 40 most frequent of 1,500 classes" in done.stdout
    assert "confusion of 1,500 classes; -o writes all of it" in done.stdout
    assert len(done.stdout.splitlines()) < 120
    done = mbert("report", "run", "run", "-o", "report.html", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    page = (run.parent / "report.html").read_text()
    assert len(page) < 300_000
    assert "the 40 most frequent of 1,500 classes" in page
    assert "... and 1,400 more, in recipe.yaml" in page


def test_predictions_have_a_column_for_each_of_many_classes(run):
    done = mbert("predict", "run", "dev.tsv", "-o", "-", "-q", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    header, *rows = (line.split("\t") for line in done.stdout.splitlines())
    assert header[3:] == [f"p_intent-{i}" for i in range(1500)]
    assert all(abs(sum(map(float, row[3:])) - 1) < 0.01 for row in rows)
    kept = (run / "evaluation" / "intent_predictions.tsv").read_text().splitlines()
    assert kept[0] == "line\tlabel\tpred\tprobability"
    assert [line.split("\t")[2] for line in kept[1:]] == [row[2] for row in rows]
