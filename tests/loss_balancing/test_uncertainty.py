import math

import pytest
import torch

from mbert_cli.loss_balancing import Shared
from mbert_cli.loss_balancing.uncertainty import Uncertainty

TWO = {"a": "classification", "b": "regression"}
NOTHING_SHARED = Shared([], None)


def step(balancing, *values):
    losses = {name: torch.tensor(value, requires_grad=True) for name, value in zip("abc", values, strict=False)}
    balancing.backward(losses, NOTHING_SHARED)
    return [loss.grad.item() for loss in losses.values()]


def test_the_initial_weight_is_one_for_classification_and_a_half_for_regression():
    """s = 0: 3 / 1 + 0 + 2 / 2 + 0 = 4."""
    balancing = Uncertainty(TWO)
    assert balancing({"a": torch.tensor(3.0), "b": torch.tensor(2.0)}).item() == 4
    assert step(balancing, 3.0, 2.0) == [1, 0.5]


def test_the_loss_is_the_formula_at_any_s():
    """s = ln 2, ln 4: 3 / 2 + ln 2 / 2 + 2 / (2 * 4) + ln 4 / 2 = 1.5 + .25 + 1.5 ln 2 = 2.789721."""
    balancing = Uncertainty(TWO)
    balancing.values.data = torch.tensor([2.0, 4.0]).log()
    assert balancing({"a": torch.tensor(3.0), "b": torch.tensor(2.0)}).item() == pytest.approx(2.789721, abs=1e-6)
    assert step(balancing, 3.0, 2.0) == pytest.approx([1 / 2, 1 / 8])


def test_s_rises_if_the_loss_is_above_its_noise_and_falls_otherwise():
    """ds = 1/2 - a L: -2.5 at a classification loss of 3, +.4 at a regression loss of .2; Adam's first step is .01."""
    balancing = Uncertainty(TWO)
    step(balancing, 3.0, 0.2)
    assert balancing.values.tolist() == pytest.approx([0.01, -0.01], abs=1e-6)


def test_constant_losses_bring_s_to_its_known_minimum():
    """d/ds (a L e^-s + s/2) = 0 at e^s = 2 a L: ln(2 * 3) for a classification loss of 3, ln 0.4 for a regression."""
    balancing = Uncertainty(TWO, learning_rate=0.05)
    for _ in range(2000):
        step(balancing, 3.0, 0.4)
    assert balancing.values.tolist() == pytest.approx([math.log(6), math.log(0.4)], abs=0.01)


def test_a_loss_of_zero_keeps_its_weight_finite():
    balancing = Uncertainty(TWO, learning_rate=1.0)
    for _ in range(100):
        step(balancing, 0.0, 1.0)
    assert balancing.values[0].item() == -10
    classification, regression = step(balancing, 0.0, 1.0)
    assert classification == pytest.approx(math.exp(10), rel=1e-5)
    assert math.isfinite(regression)


def test_s_is_not_decayed():
    """At its minimum a classification loss of .5 has the derivative 0: s stays where it is."""
    balancing = Uncertainty({"a": "classification"})
    for _ in range(50):
        step(balancing, 0.5)
    assert balancing.values.item() == 0
