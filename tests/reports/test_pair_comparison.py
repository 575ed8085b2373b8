"""Two runs, compared on made-up predictions."""

import math

import numpy as np
import pytest
from scipy import stats

from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.metrics import classification_metrics, multi_label_metrics, regression_metrics
from mbert_cli.recipe.sections import Component, TaskSection
from mbert_cli.reports.evaluation_folder import Evaluation, Predictions, write_evaluation
from mbert_cli.reports.pair_comparison import compare, mcnemar
from mbert_cli.reports.run_predictions import RunPredictions, predictions_in

MOODS = ["low", "mid", "high"]
RNG = np.random.default_rng(0)
LABELS = RNG.integers(3, size=60)
RIGHT_A = np.arange(60) < 40  # A predicts the first 40 rows correctly
RIGHT_B = np.arange(60) >= 15  # B predicts all but the first 15 correctly
NEAR = RNG.uniform(0, 5, size=30).round(1)
NEAR_A, NEAR_B = NEAR + RNG.normal(size=30), NEAR + 0.1 * RNG.normal(size=30)
SETS = ["a", "b"]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("mbert_cli.reports.bootstrap.RESAMPLES", 300)


def moods(right, start=2, labels=LABELS):
    predicted = np.where(right, labels, (labels + 1) % 3)
    metrics = classification_metrics(predicted, labels, MOODS, None) | {"main_metric": "accuracy", "loss": 1.0}
    probabilities = {f"p_{name}": np.where(predicted == k, 0.8, 0.1).tolist() for k, name in enumerate(MOODS)}
    names = [MOODS[each] for each in predicted]
    return metrics, [MOODS[each] for each in labels], {"pred": names, **probabilities}, start


def near(predicted):
    return (
        regression_metrics(predicted, NEAR) | {"main_metric": "pearson"},
        NEAR.tolist(),
        {"pred": predicted.tolist()},
        2,
    )


def topics(flags):
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 1]] * 5)
    joined = [[",".join(np.array(SETS)[row == 1]) for row in each] for each in (labels, flags)]
    metrics = multi_label_metrics(flags, flags, labels, SETS) | {"main_metric": "micro_f1", "delimiter": ","}
    return metrics, joined[0], {"pred": joined[1], "p_a": flags[:, 0].tolist(), "p_b": flags[:, 1].tolist()}, 2


def run(folder, sha256=None, **tasks):
    """Write the evaluation of a run; return its predictions."""
    folder.mkdir()
    predictions, metrics = {}, {}
    for task, (own, labels, columns, start) in tasks.items():
        predictions[task] = [Predictions(range(start, start + len(labels)), labels, columns)]
        metrics[task] = {"examples": len(labels), **own}
    files = {task: {"file": f"{task}.tsv", "sha256": sha256} for task in tasks}
    write_evaluation(folder, Evaluation({"tasks": metrics, "overall": 0.5}, predictions).of("dev", files))
    section = TaskSection(train="t", dev="d", text=["text"], label="mood", head=Component(kind="classification"))
    return RunPredictions(folder, predictions_in(folder, dict.fromkeys(tasks, section)))


def test_correct_rows_are_counted_and_tested_by_mcnemar(tmp_path):
    (task,) = compare(run(tmp_path / "a", mood=moods(RIGHT_A)), run(tmp_path / "b", mood=moods(RIGHT_B))).tasks
    agreement = task.agreement
    assert (agreement.both, agreement.only_a, agreement.only_b, agreement.neither) == (25, 15, 20, 0)
    accuracy = task.metrics[0]
    assert (accuracy.name, accuracy.test) == ("accuracy", "McNemar")
    assert accuracy.difference == pytest.approx(5 / 60)
    assert accuracy.p == mcnemar(15, 20)
    # The difference is a mean of 60 numbers: 20 times 1, 15 times -1, 25 times 0.
    error = np.std([1] * 20 + [-1] * 15 + [0] * 25) / math.sqrt(60)
    assert accuracy.interval == pytest.approx((5 / 60 - 1.96 * error, 5 / 60 + 1.96 * error), abs=0.05)
    others = {metric.name: metric for metric in task.metrics[1:]}
    assert {name: metric.test for name, metric in others.items()} == {
        "precision": "bootstrap", "recall": "bootstrap", "f1": "bootstrap", "loss": None,
    }  # fmt: skip
    assert others["loss"].interval is None


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (3, 9), (15, 20), (7, 7)])
def test_mcnemars_p_value_is_the_binomial_probability_of_both_tails(only_a, only_b):
    number = only_a + only_b
    tail = sum(math.comb(number, k) for k in range(min(only_a, only_b) + 1)) / 2**number
    assert mcnemar(only_a, only_b) == pytest.approx(min(1, 2 * tail), abs=1e-12)
    if number:
        assert mcnemar(only_a, only_b) == pytest.approx(stats.binomtest(only_a, number).pvalue, abs=1e-12)


def test_the_interval_of_a_difference_is_the_paired_bootstrap_of_scipy(tmp_path, monkeypatch):
    monkeypatch.setattr("mbert_cli.reports.bootstrap.RESAMPLES", 4000)
    (task,) = compare(run(tmp_path / "a", near=near(NEAR_A)), run(tmp_path / "b", near=near(NEAR_B))).tasks
    own = {metric.name: metric for metric in task.metrics}

    def pearson(x, y, axis):
        return stats.pearsonr(x, y, axis=axis).statistic

    differences = {
        "pearson": lambda a, b, y, axis: pearson(b, y, axis) - pearson(a, y, axis),
        "mae": lambda a, b, y, axis: np.abs(b - y).mean(axis) - np.abs(a - y).mean(axis),
    }
    for name, difference in differences.items():
        options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 4000}
        other = stats.bootstrap((NEAR_A, NEAR_B, NEAR), difference, **options, rng=np.random.default_rng(7))
        assert own[name].difference == pytest.approx(difference(NEAR_A, NEAR_B, NEAR, 0), abs=1e-12)
        width = np.diff(other.confidence_interval).item()
        assert own[name].interval == pytest.approx(tuple(other.confidence_interval), abs=0.1 * width)


def test_numbers_and_sets_are_compared_by_the_bootstrap(tmp_path):
    worse = np.array([[1, 0], [1, 0], [0, 0], [0, 0]] * 5)
    better = np.array([[1, 0], [1, 1], [0, 0], [0, 0]] * 5)
    a = run(tmp_path / "a", near=near(NEAR_A), topics=topics(worse))
    b = run(tmp_path / "b", near=near(NEAR_B), topics=topics(better))
    compared = compare(a, b)
    numbers, sets = compared.tasks
    assert [metric.name for metric in numbers.metrics] == ["pearson", "spearman", "mse", "mae", "r2"]
    assert {metric.test for metric in numbers.metrics} == {"bootstrap"}
    low, high = numbers.metrics[0].interval
    assert 0 < low < numbers.metrics[0].difference < high
    assert numbers.agreement is None
    # A predicts the labels a, a, -, - of a, ab, -, b; B predicts a, ab, -, -.
    assert (sets.agreement.both, sets.agreement.only_a, sets.agreement.only_b, sets.agreement.neither) == (10, 0, 5, 5)
    tests = {metric.name: metric.test for metric in sets.metrics}
    assert tests == {
        "micro_f1": "bootstrap",
        "macro_f1": "bootstrap",
        "exact_match": "McNemar",
        "average_precision": None,
    }
    main = [task.metrics[0] for task in compared.tasks]
    assert compared.overall.difference == pytest.approx((main[0].difference / 2 + main[1].difference) / 2)
    assert compared.overall.interval[0] < compared.overall.difference < compared.overall.interval[1]


def test_rows_that_one_run_predicts_correctly_come_first(tmp_path):
    right_a, right_b = RIGHT_A.copy(), RIGHT_B.copy()
    (task,) = compare(run(tmp_path / "a", mood=moods(right_a)), run(tmp_path / "b", mood=moods(right_b))).tasks
    assert [(row.line, row.better) for row in task.differing] == [
        *((2 + row, "A") for row in range(15)), *((2 + row, "B") for row in range(40, 60)),
    ]  # fmt: skip
    assert {row.label == row.a for row in task.differing if row.better == "A"} == {True}


def test_numbers_with_the_largest_change_of_the_error_come_first(tmp_path):
    (task,) = compare(run(tmp_path / "a", near=near(NEAR_A)), run(tmp_path / "b", near=near(NEAR_B))).tasks
    gains = abs(abs(NEAR_A - NEAR) - abs(NEAR_B - NEAR))
    assert task.differing[0].line == 2 + int(np.argmax(gains))
    closer = abs(NEAR_B - NEAR) < abs(NEAR_A - NEAR)
    assert all((row.better == "B") == closer[row.line - 2] for row in task.differing)


def test_a_run_is_equal_to_itself(tmp_path):
    own = run(tmp_path / "a", mood=moods(RIGHT_A), near=near(NEAR_A))
    compared = compare(own, own)
    for task in compared.tasks:
        assert not task.differing
        assert {(metric.difference, metric.interval, metric.p) for metric in task.metrics if metric.test} == {
            (0, (0, 0), 1)
        }
    assert compared.overall.p == 1
    assert compared.notes == ["A and B are the same run, so all differences are 0."]
    assert compared == compare(own, own)


def test_tasks_of_only_one_run_are_noted(tmp_path):
    a, b = run(tmp_path / "a", mood=moods(RIGHT_A), near=near(NEAR_A)), run(tmp_path / "b", mood=moods(RIGHT_B))
    compared = compare(a, b)
    assert [task.name for task in compared.tasks] == ["mood"]
    assert compared.notes == [f"{b.path} has no task near; it is not compared."]
    assert compared.overall is None
    assert compare(a, b, ["mood"]).notes == []
    with pytest.raises(UsageError, match=r"b: has no task near\. Known: mood\.$"):
        compare(a, b, ["near"])
    with pytest.raises(UsageError, match="the runs have no task in common: .*a has mood, near; .*c has other.$"):
        compare(a, run(tmp_path / "c", other=moods(RIGHT_A)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: run(folder, "f" * 64, mood=moods(RIGHT_B)),
            "different files: mood.tsv and mood.tsv ",
        ),
        (lambda folder: run(folder, mood=moods(RIGHT_B, start=3)), r"different rows \(60 and 60\)"),
        (lambda folder: run(folder, mood=moods(RIGHT_B[:9], labels=LABELS[:9])), r"different rows \(60 and 9\)"),
        (lambda folder: run(folder, mood=moods(RIGHT_B, labels=2 - LABELS)), "the label of line . is '...?.?' in "),
    ],
)
def test_runs_that_were_scored_on_different_rows_are_refused_with_a_remedy(tmp_path, change, message):
    a, b = run(tmp_path / "a", "0" * 64, mood=moods(RIGHT_A)), change(tmp_path / "b")
    with pytest.raises(UsageError, match=message) as error:
        compare(a, b)
    (problem,) = error.value.problems
    assert problem.endswith(f"score both on one file: mbert compare {a.path} {b.path} --data mood=FILE.")


def test_classes_are_not_compared_with_numbers(tmp_path):
    a, b = run(tmp_path / "a", near=near(NEAR_A)), run(tmp_path / "b", near=moods(RIGHT_B))
    with pytest.raises(UsageError, match="task near: has classes in one run and numbers in the other"):
        compare(a, b)


@pytest.mark.parametrize(
    "text", ["", "line\tlabel\tpred\n", "line\tlabel\tpred\tp_low\tp_mid\tp_high\n2\tx\tlow\t1\t0\t0\n"]
)
def test_a_damaged_file_of_predictions_is_reported(tmp_path, text):
    own = run(tmp_path / "a", mood=moods(RIGHT_A))
    path = tmp_path / "a" / "mood_predictions.tsv"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"mood_predictions.tsv: cannot be read \(.*\); copy the run again"):
        compare(own, own)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file or directory\)"):
        compare(own, own)
