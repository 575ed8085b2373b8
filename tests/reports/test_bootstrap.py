import numpy as np
import pytest
from scipy import stats

from mbert_cli.reports.bootstrap import interval_of, interval_text, p_value, resample, rows_per_resample
from mbert_cli.reports.row_scores import number_scores

LABELS = np.random.default_rng(0).normal(size=200)
PREDICTED = LABELS + np.random.default_rng(1).normal(size=200)


def test_the_interval_of_a_correlation_is_that_of_scipy():
    scores = number_scores(LABELS, PREDICTED)
    values = resample({"pearson": scores["pearson"]}, 200, "x")["pearson"]
    other = stats.bootstrap(
        (LABELS, PREDICTED),
        lambda x, y, axis: stats.pearsonr(x, y, axis=axis).statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert interval_of(values) == pytest.approx(other, abs=0.01)


def test_all_metrics_are_computed_on_the_same_resamples_and_repeat():
    scores = number_scores(LABELS, PREDICTED)
    both = resample({name: scores[name] for name in ("mse", "mae")}, 200, "x")
    assert (both["mae"] == resample({"mae": scores["mae"]}, 200, "x")["mae"]).all()
    assert (both["mae"] != resample({"mae": scores["mae"]}, 200, "y")["mae"]).any()


@pytest.mark.parametrize(
    ("rows", "width", "size"), [(500, 1, 500), (40_000, 1, 10_000), (10_000, 200, 5000), (2000, 10**6, 1000)]
)
def test_a_resample_has_a_limited_number_of_rows(rows, width, size):
    assert rows_per_resample(rows, width) == size


def test_with_smaller_resamples_the_interval_has_the_width_of_all_rows():
    """The standard error of a mean is the standard deviation divided by sqrt(rows)."""
    values = np.random.default_rng(3).normal(size=40_000)
    means = resample({"mean": lambda rows: values[rows].mean()}, len(values), "x")["mean"]
    assert means.std() == pytest.approx(values.std() / 200, rel=0.05)
    assert means.mean() == pytest.approx(values.mean(), abs=3 * values.std() / 200 / 2000**0.5)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0] * 39, 2 / 40),
        ([1.0] * 37 + [-1.0] * 2, 6 / 40),
        ([0.0] * 39, 1.0),
        ([1e-17] * 39, 1.0),
        ([1.0, -1.0] * 20, 1.0),
    ],
)
def test_the_p_value_is_twice_the_share_of_resamples_on_the_other_side_of_zero(differences, p):
    assert p_value(np.array(differences)) == pytest.approx(p)


def test_an_interval_as_text():
    assert [interval_text((-0.1, 0.25), "+"), interval_text((0.5, 1.0)), interval_text(None)] == [
        "-0.100 to +0.250", "0.500 to 1.000", "",
    ]  # fmt: skip
