import math

import pytest
import torch

from mbert_cli.loss_balancing import Shared
from mbert_cli.loss_balancing.dynamic_weight_average import DynamicWeightAverage

TWO = {"a": "classification", "b": "regression"}
NOTHING_SHARED = Shared([], None)


def steps(balancing, *pairs):
    """Take steps with these losses of two tasks; return the derivatives of each step, which are the tasks' weights."""
    weights = []
    for pair in pairs:
        losses = {name: torch.tensor(value, requires_grad=True) for name, value in zip("ab", pair, strict=True)}
        balancing.backward(losses, NOTHING_SHARED)
        weights.append([loss.grad.item() for loss in losses.values()])
    return weights


def epoch(balancing, *pairs):
    found = steps(balancing, *pairs)
    balancing.end_epoch()
    return found


def test_the_first_two_epochs_are_the_plain_sum():
    balancing = DynamicWeightAverage(TWO)
    assert epoch(balancing, (5.0, 1.0), (3.0, 1.0)) == [[1, 1], [1, 1]]
    assert epoch(balancing, (0.1, 9.0)) == [[1, 1]]
    assert epoch(balancing, (1.0, 1.0)) != [[1, 1]]


def test_weights_follow_the_ratio_of_the_last_two_epochs_means():
    """Means 2, 1, then 1, 1: w = .5, 1. Over T = 2: e^.25 = 1.284025, e^.5 = 1.648721, their sum 2.932747.

    lambda = 2 * 1.284025 / 2.932747 = .875647, and 2 * 1.648721 / 2.932747 = 1.124353.
    """
    balancing = DynamicWeightAverage(TWO)
    epoch(balancing, (3.0, 0.5), (1.0, 1.5))
    epoch(balancing, (1.5, 1.0), (0.25, 0.75), (1.25, 1.25))
    (weights,) = epoch(balancing, (7.0, 7.0))
    assert weights == pytest.approx([0.875647, 1.124353], abs=1e-6)
    assert sum(weights) == pytest.approx(2)


def test_means_are_of_the_unweighted_losses():
    """The weights of the third epoch are not 1, but its unweighted means 4, 2 count: w = 4 / 1, 2 / 1 over T = 2: 2, 1.

    lambda = 2 / (1 + e^-1) = 1.462117, and 2 minus that.
    """
    balancing = DynamicWeightAverage(TWO)
    epoch(balancing, (2.0, 1.0))
    epoch(balancing, (1.0, 1.0))
    epoch(balancing, (4.0, 2.0))
    assert epoch(balancing, (1.0, 1.0))[0] == pytest.approx([1.462117, 0.537883], abs=1e-6)


def test_equal_progress_gives_equal_weights_and_a_stalling_task_the_larger_one():
    balancing = DynamicWeightAverage(TWO)
    epoch(balancing, (8.0, 2.0))
    epoch(balancing, (4.0, 1.0))
    assert epoch(balancing, (1.0, 1.0))[0] == pytest.approx([1, 1])
    balancing = DynamicWeightAverage(TWO)
    epoch(balancing, (8.0, 2.0))
    epoch(balancing, (4.0, 2.0))
    falling, stalling = epoch(balancing, (1.0, 1.0))[0]
    assert falling < 1 < stalling


def test_epochs_without_steps_of_several_tasks_do_not_count():
    plain, hybrid = DynamicWeightAverage(TWO), DynamicWeightAverage(TWO)
    for pair in ((3.0, 1.0), (2.0, 0.5), (1.0, 0.4)):
        hybrid.end_epoch()
        assert epoch(hybrid, pair) == epoch(plain, pair)
        hybrid.end_epoch()


def test_a_large_temperature_makes_the_weights_nearly_equal():
    """w = .5, 1 over 1000: 2 / (1 + e^.0005) = .99975."""
    balancing = DynamicWeightAverage(TWO, temperature=1000.0)
    epoch(balancing, (2.0, 1.0))
    epoch(balancing, (1.0, 1.0))
    assert epoch(balancing, (1.0, 1.0))[0] == pytest.approx([0.99975, 1.00025], abs=1e-7)


@pytest.mark.parametrize(
    ("before", "last", "expected"),
    [
        ((0.0, 1.0), (0.0, 1.0), [1, 1]),  # 0 to 0 has the ratio 1, like 1 to 1
        ((0.0, 1.0), (1.0, 1.0), [2, 0]),  # rose from 0: all the weight, without overflow
        ((1.0, 1.0), (0.0, 1.0), [2 / (1 + math.e**0.5), 2 / (1 + math.e**-0.5)]),  # fell to 0: w = 0, 1
        ((0.0, 0.0), (0.0, 0.0), [1, 1]),
        ((1e-30, 1.0), (1e30, 1.0), [2, 0]),
    ],
)
def test_an_epoch_mean_of_zero_causes_no_division_by_zero(before, last, expected):
    balancing = DynamicWeightAverage(TWO)
    epoch(balancing, before)
    epoch(balancing, last)
    assert epoch(balancing, (1.0, 1.0))[0] == pytest.approx(expected, abs=1e-6)


def test_the_weights_of_three_tasks_sum_to_three():
    balancing = DynamicWeightAverage({"a": "classification", "b": "regression", "c": "classification"})
    losses = {name: torch.tensor(1.0, requires_grad=True) for name in "abc"}
    for scale in ((1, 1, 1), (0.9, 0.5, 0.1), (1, 1, 1)):
        for loss in losses.values():
            loss.grad = None
        balancing.backward({name: losses[name] * by for name, by in zip("abc", scale, strict=True)}, NOTHING_SHARED)
        balancing.end_epoch()
    weights = [loss.grad.item() for loss in losses.values()]
    assert sum(weights) == pytest.approx(3)
    assert weights == sorted(weights, reverse=True)
