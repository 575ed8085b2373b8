import math

import numpy as np
import pytest
from made_runs import make_run, printed, three

from mbert_cli.reports.best import MEANING, Estimate, best, of_rows, of_seeds, of_tasks
from mbert_cli.reports.page import report_page
from mbert_cli.reports.run_report import read_runs


def test_standard_error_of_an_accuracy_is_that_of_a_binomial_proportion():
    drawn = np.random.default_rng(0).binomial(400, 0.8, 200_000) / 400
    assert of_rows("accuracy", 0.8, 400).error == pytest.approx(drawn.std(), rel=0.01)
    assert of_rows("accuracy", 0.8, 400).error == pytest.approx(0.02)


@pytest.mark.parametrize("r", [0.0, 0.6, -0.9])
def test_standard_error_of_a_correlation_is_the_standard_deviation_over_samples(r):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20_000, 100))
    y = r * x + math.sqrt(1 - r**2) * rng.standard_normal(x.shape)
    x, y = (each - each.mean(1, keepdims=True) for each in (x, y))
    drawn = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    assert of_rows("pearson", r, 100).error == pytest.approx(drawn.std(), rel=0.05)


@pytest.mark.parametrize(("metric", "rows"), [("f1", 100), ("accuracy", None), ("pearson", 3)])
def test_standard_error_is_unknown_for_other_metrics_and_too_few_rows(metric, rows):
    assert of_rows(metric, 0.5, rows) == Estimate(0.5, None)


def test_standard_error_of_the_overall_score_is_that_of_a_mean():
    tasks = {("a", "accuracy"): Estimate(0.5, 0.03), ("b", "pearson"): Estimate(0.8, 0.08)}
    assert of_tasks(0.7, tasks).error == pytest.approx(math.sqrt(0.03**2 + 0.04**2) / 2)
    assert of_tasks(0.7, {**tasks, ("c", "accuracy"): Estimate(0.5)}).error is None


def test_more_seeds_reduce_only_the_variance_between_seeds():
    one, other = Estimate(0.70, 0.03), Estimate(0.74, 0.03)
    together = of_seeds([one, other])
    assert together.value == pytest.approx(0.72)
    assert together.error == pytest.approx(math.sqrt(0.03**2 + 0.04**2 / 2 / 2))
    assert of_seeds([one]) == one
    assert of_seeds([one, Estimate(0.7)]).error is None


@pytest.mark.parametrize(
    ("values", "error", "marked"),
    [
        ((0.50, 0.80, 0.79), 0.02, [False, True, True]),  # within one standard error of the best
        ((0.50, 0.80, 0.77), 0.02, [False, True, False]),
        ((0.80, 0.79), 0.02, [False, False]),  # all are within one standard error
        ((0.80, 0.80), None, [False, False]),  # equal
        ((0.5, 0.80, 0.80), None, [False, True, True]),
        ((0.8004, 0.8001, 0.5), None, [True, True, False]),  # printed alike
        ((0.80, None), 0.02, [False, False]),  # a single score
        ((0.80, None, 0.5), 0.02, [True, False, False]),
    ],
)
def test_the_best_score_and_those_within_one_standard_error_are_marked(values, error, marked):
    assert best([None if value is None else Estimate(value, error) for value in values]) == marked


@pytest.fixture
def runs(tmp_path):
    """Three runs on 1,000 dev rows: their sst scores are close, and the third is the worst on quora."""
    scores = {"a": three(0.735, 0.91, 0.80), "b": three(0.736, 0.905, 0.9), "c": three(0.73, 0.8, 0.8)}
    for name, own in scores.items():
        path = make_run(tmp_path / name, [own]) / "metrics.jsonl"
        path.write_text(path.read_text().replace('"loss"', '"examples": 1000, "loss"'))
    return read_runs([tmp_path / name for name in scores])


def test_the_page_marks_all_scores_within_one_standard_error_and_explains_the_mark(runs):
    page = report_page(runs)
    side_by_side = page[page.index("Side by side") : page.index("on dev</figcaption>")]
    assert side_by_side.count('class="best"') == 4
    marked = [part.partition("<")[0] for part in side_by_side.split('class="best">')[1:]]
    assert marked == ["0.910", "0.905", "0.900", "0.864"]
    assert MEANING in page


def test_the_mark_is_not_explained_if_nothing_is_marked(tmp_path):
    runs = read_runs([make_run(tmp_path / name, [three(0.7, 0.9, 0.8)]) for name in "ab"])
    assert MEANING not in report_page(runs)
    assert "standard error" not in printed(runs, 200)


@pytest.mark.parametrize("width", [60, 200])
def test_the_table_marks_the_same_scores(runs, width):
    text = printed(runs, width)
    assert {word.strip("│") for word in text.split() if "*" in word} == {"0.910*", "0.905*", "0.900*", "0.864*", "*:"}
    assert "within one standard error" in " ".join(text.split())
