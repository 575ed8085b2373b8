import numpy as np
import pytest
import torch

from mbert_cli.loss_balancing import Shared
from mbert_cli.loss_balancing.gradnorm import GradNorm

TWO = {"a": "classification", "b": "regression"}


def losses_of(weight, own, scale=(3.0, 1.0)):
    """Two losses with orthogonal gradients on `weight` of norm `scale` times `own`; `own` starts at 1."""
    return {name: scale[i] * own[i] * (weight[i] + 1) for i, name in enumerate("ab")}


def parameters():
    return torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)


def test_the_first_step_is_the_plain_sum_and_moves_weight_from_the_large_gradient_to_the_small_one():
    """G = 3, 1, their mean is 2, r = 1, 1: |3 - 2| + |1 - 2| has the derivatives 3 and -1; Adam's first step is .025.

    The weights are then .975 and 1.025; their sum is already 2.
    """
    weight, own = parameters()
    balancing = GradNorm(TWO)
    balancing.backward(losses_of(weight, own), Shared([weight], weight))
    assert weight.grad.tolist() == [3, 1]
    assert balancing.values.tolist() == pytest.approx([0.975, 1.025], abs=1e-6)


def test_the_next_step_uses_the_weights_and_gives_the_slower_task_more_weight():
    """The first loss is unchanged, the second is halved: L/L(0) = 1, .5; r = 4/3, 2/3; r^1.5 = 1.5396, .5443.

    G = .975 * 3 = 2.925 and 1.025 * .5 = .5125, mean 1.71875; the targets 2.6462, .9355 are below the first and above
    the second, so the derivatives are 3 and -.5. Adam's moments: first .9 * .3 + .1 * 3 = .57 and -.09 - .05 = -.14,
    over 1 - .81 = .19: 3 and -.736842; second .999 * .009 + .001 * 9 = .017991 and .000999 + .00025 = .001249, over
    .001999: 9 and .624812, roots 3 and .790451. The steps are -.025 and .025 * .932180 = .023304: weights .95 and
    1.048304, their sum 1.998304; scaled by 2 / 1.998304: .950806, 1.049194.
    """
    weight, own = parameters()
    balancing = GradNorm(TWO)
    balancing.backward(losses_of(weight, own), Shared([weight], weight))
    weight.grad = own.grad = None
    balancing.backward(losses_of(weight, own, (3.0, 0.5)), Shared([weight], weight))
    assert weight.grad.tolist() == pytest.approx([2.925, 0.5125], abs=1e-5)
    assert balancing.values.tolist() == pytest.approx([0.950806, 1.049194], abs=1e-5)


def test_with_alpha_0_all_gradient_norms_become_equal():
    """w1 * 3 = w2 * 1 with w1 + w2 = 2: .5 and 1.5."""
    weight, own = parameters()
    balancing = GradNorm(TWO, alpha=0.0, learning_rate=0.01)
    for step in range(400):
        # Losses that fall at different rates do not matter.
        scale = 0.5 + 0.5 * 0.99**step
        losses = losses_of(weight, own)
        balancing.backward({"a": losses["a"], "b": losses["b"] - 1 + scale}, Shared([weight], weight))
        weight.grad = own.grad = None
    assert balancing.values.tolist() == pytest.approx([0.5, 1.5], abs=0.03)


def test_a_task_that_stalls_gains_weight():
    weight, own = parameters()
    balancing = GradNorm(TWO)
    for step in range(30):
        losses = losses_of(weight, own, (1.0, 1.0))
        # Equal gradients; the first loss falls, the second stays.
        balancing.backward({"a": losses["a"] - step / 31, "b": losses["b"]}, Shared([weight], weight))
        weight.grad = own.grad = None
    falling, stalling = balancing.values.tolist()
    assert falling < 0.9
    assert stalling > 1.1


def test_equal_tasks_keep_equal_weights():
    weight, own = parameters()
    balancing = GradNorm(TWO)
    for _ in range(20):
        balancing.backward(losses_of(weight, own, (2.0, 2.0)), Shared([weight], weight))
        weight.grad = own.grad = None
        assert balancing.values.tolist() == [1, 1]


def test_the_gradient_of_the_weights_does_not_reach_the_network():
    """The gradients in the network are those of the sum with constant weights: w = 1.5 and .5 times 3 and 1."""
    weight, own = parameters()
    balancing = GradNorm(TWO)
    balancing.values.data = torch.tensor([1.5, 0.5])
    balancing.backward(losses_of(weight, own), Shared([weight], weight))
    assert weight.grad.tolist() == [4.5, 0.5]
    assert own.grad.tolist() == [4.5, 0.5]
    assert balancing.values.grad is None


def test_weights_sum_to_the_number_of_tasks_and_stay_positive_for_any_gradients():
    rng = np.random.default_rng(0)
    names = ("a", "b", "c", "d")
    balancing = GradNorm(dict.fromkeys(names, "classification"), learning_rate=0.5)
    weight = torch.randn(3, 5, requires_grad=True)
    for _ in range(200):
        losses = {name: (weight * float(rng.exponential() ** 4)).square().sum() for name in names}
        balancing.backward(losses, Shared([weight], weight))
        weight.grad = None
        values = balancing.values.detach()
        assert values.sum().item() == pytest.approx(4, abs=1e-4)
        assert values.min().item() > 0


def test_a_loss_without_a_gradient_on_the_last_shared_weight_counts_as_a_gradient_of_0():
    """G = 3, 0: mean 1.5, derivatives 3 and 0. Only scaling raises the second weight: .975, 1 times 2 / 1.975."""
    weight, own = parameters()
    losses = {"a": 3 * weight[0] + 1, "b": own[0] * 1.0}
    balancing = GradNorm(TWO)
    balancing.backward(losses, Shared([weight], weight))
    assert weight.grad.tolist() == [3, 0]
    assert own.grad.tolist() == [1, 0]
    assert balancing.values.tolist() == pytest.approx([0.987342, 1.012658], abs=1e-5)


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.0, 1.0)])
def test_losses_of_0_cause_no_division_by_zero(values):
    weight = torch.zeros(2, requires_grad=True)
    balancing = GradNorm(TWO)
    for _ in range(3):
        losses = {name: weight[i] * 2 + values[i] for i, name in enumerate("ab")}
        balancing.backward(losses, Shared([weight], weight))
        weight.grad = None
        assert balancing.values.isfinite().all()
    balancing.backward({"a": weight[0] + 5, "b": weight[1] + 1}, Shared([weight], weight))
    assert balancing.values.isfinite().all()


def test_a_gradient_that_is_not_finite_leaves_the_weights_as_they_were():
    """The square root has no derivative at 0: the loss is finite, its gradient is not."""
    weight = torch.zeros(2, requires_grad=True)
    balancing = GradNorm(TWO)
    balancing.backward({"a": weight.square().sum().sqrt(), "b": weight[1] + 1}, Shared([weight], weight))
    assert not weight.grad.isfinite().all()
    assert balancing.values.tolist() == [1, 1]


def test_without_shared_parameters_it_is_the_plain_sum_and_learns_nothing():
    _, own = parameters()
    balancing = GradNorm(TWO)
    balancing.values.data = torch.tensor([1.5, 0.5])
    balancing.backward({"a": 2 * own[0], "b": 5 * own[1]}, Shared([], None))
    assert own.grad.tolist() == [2, 5]
    assert balancing.values.tolist() == [1.5, 0.5]
    assert balancing.updates.item() == 0
