import math

import pytest
import torch

from mbert_cli.loss_balancing import Shared
from mbert_cli.loss_balancing.famo import FAMO

TWO = {"a": "classification", "b": "regression"}
NOTHING_SHARED = Shared([], None)


def step(balancing, before, after):
    """Take one step, given the losses before and after it; return the tasks' weights."""
    losses = {name: torch.tensor(value, requires_grad=True) for name, value in zip("abc", before, strict=False)}
    balancing.backward(losses, NOTHING_SHARED)
    balancing.after_step(lambda: {name: torch.tensor(value) for name, value in zip("abc", after, strict=False)})
    return [loss.grad.item() for loss in losses.values()]


def test_the_first_weights_are_uniform_over_the_logarithms():
    """z = .5, .5: the gradients z / L = .25 and 1 at losses of 2 and .5, over their sum 1.25: .2 and .8."""
    balancing = FAMO(TWO)
    assert balancing.values.softmax(0).tolist() == [0.5, 0.5]
    assert step(balancing, (2.0, 0.5), (2.0, 0.5)) == pytest.approx([0.2, 0.8], abs=1e-6)


def test_the_loss_is_the_weighted_sum_of_logarithms():
    """At 2 and 8: c = .25 + .0625 = .3125; (.5 ln 2 + .5 ln 8) / c = 2 ln 2 / .3125 = 4.436142."""
    loss = FAMO(TWO)({"a": torch.tensor(2.0), "b": torch.tensor(8.0)})
    assert loss.item() == pytest.approx(4.436142, abs=1e-5)


def test_the_task_that_improved_less_gains_weight():
    """The gains are ln 2 - ln 1 and 0: the derivatives z_k (gain_k - mean) = .5 * .3466 = .1733 and -.1733.

    Adam's first step is .025 against the sign: w = -.025, .025, z = .4875, .5125.
    """
    balancing = FAMO(TWO)
    step(balancing, (2.0, 0.5), (1.0, 0.5))
    assert balancing.values.tolist() == pytest.approx([-0.025, 0.025], abs=1e-6)
    assert balancing.first_moment.tolist() == pytest.approx([0.017329, -0.017329], abs=1e-6)  # a tenth of it
    assert balancing.values.softmax(0).tolist() == pytest.approx([0.487503, 0.512497], abs=1e-6)


def test_the_same_factor_for_all_tasks_changes_nothing():
    balancing = FAMO(TWO)
    step(balancing, (2.0, 0.5), (1.0, 0.25))
    assert balancing.values.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_decay_pulls_the_weights_back_to_uniform():
    """If no loss changes, the gradient of w is decay * w."""
    balancing = FAMO(TWO, decay=0.1)
    balancing.values.data = torch.tensor([1.0, -1.0])
    step(balancing, (1.0, 1.0), (1.0, 1.0))
    assert balancing.first_moment.tolist() == pytest.approx([0.01, -0.01])
    assert balancing.values.tolist() == pytest.approx([0.975, -0.975], abs=1e-6)


def test_a_task_that_keeps_stalling_gains_weight_in_every_step():
    balancing = FAMO(TWO)
    weights = []
    for _ in range(40):
        step(balancing, (1.0, 1.0), (0.5, 1.0))
        weights.append(balancing.values.softmax(0)[1].item())
    assert weights == sorted(weights)
    assert weights[-1] > 0.8


def test_a_loss_of_zero_stays_finite():
    """As in the authors' code, a loss near 0 has nearly all the weight: z / (0 + 1e-8)."""
    balancing = FAMO(TWO)
    weights = step(balancing, (0.0, 1.0), (0.0, 0.5))
    assert weights == pytest.approx([1, 1e-8], rel=1e-4)
    assert balancing.values.isfinite().all()


def test_losses_that_are_not_finite_after_the_step_change_nothing():
    balancing = FAMO(TWO)
    for after in (math.nan, math.inf):
        step(balancing, (1.0, 1.0), (after, 1.0))
        assert balancing.values.tolist() == [0, 0]
        assert balancing.updates.item() == 0


def test_learning_leaves_no_gradient_in_the_network():
    parameter = torch.ones(2, requires_grad=True)
    balancing = FAMO(TWO)
    balancing.backward({"a": parameter[0] * 2, "b": parameter[1] * 0.5}, Shared([parameter], parameter))
    before = parameter.grad.clone()
    balancing.after_step(lambda: {"a": parameter[0] * 1, "b": parameter[1] * 0.5})
    assert torch.equal(parameter.grad, before)
