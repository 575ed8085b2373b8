import numpy as np
import pytest
import torch

from mbert_cli.loss_balancing import Shared
from mbert_cli.loss_balancing.pcgrad import PCGrad
from mbert_cli.randomness import permutation

NAMES = ("a", "b", "c", "d")


def surgery(*gradients, seed=0):
    """Return the gradient of PCGrad on a shared parameter, given the gradient of each task."""
    shared = torch.zeros(len(gradients[0]), requires_grad=True)
    losses = {name: shared @ torch.tensor(g, dtype=torch.float32) for name, g in zip(NAMES, gradients, strict=False)}
    PCGrad(dict.fromkeys(losses, "classification")).backward(losses, Shared([shared], shared, seed))
    return shared.grad.tolist()


def reference(gradients, orders):
    """The algorithm of the paper, on whole vectors."""
    total = np.zeros_like(gradients[0])
    for k, order in enumerate(orders):
        g = gradients[k].copy()
        for j in order:
            if j != k and g @ gradients[j] < 0:
                g -= (g @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
        total += g
    return total


def test_conflicting_components_are_dropped():
    """(1, 0) . (-1, 1) = -1: the first becomes (1, 0) + 1/2 (-1, 1) = (.5, .5), the other (-1, 1) + (1, 0) = (0, 1)."""
    assert surgery((1, 0), (-1, 1)) == [0.5, 1.5]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((2, 0), (0, 3), [2, 3]),  # orthogonal: the sum
        ((1, 2), (3, 6), [4, 8]),  # aligned: the sum
        ((1, 2), (-1, -2), [0, 0]),  # opposite: both vanish
        ((1, 2), (-3, -6), [0, 0]),
        ((0, 0), (3, -1), [3, -1]),  # a zero gradient removes nothing
        ((0, 0), (0, 0), [0, 0]),
    ],
)
def test_with_two_tasks_only_conflicting_components_are_dropped(first, second, expected):
    assert surgery(first, second) == pytest.approx(expected, abs=1e-6)


def test_with_three_tasks_the_result_depends_on_the_order():
    """g1 = (1, 0), g2 = (-1, 1), g3 = (-1, -1); the last two are orthogonal.

    g1 against g2: + 1/2 g2 = (.5, .5), against g3: + 1/2 g3 = (0, 0); the same the other way round.
    g2 against g3, then g1: + g1 = (0, 1). Against g1 first: (0, 1), which conflicts with g3: + 1/2 g3 = (-.5, .5).
    g3 against g2, then g1: (0, -1). Against g1 first: (0, -1) + 1/2 g2 = (-.5, -.5).
    """
    sums = {(0, 0), (-0.5, -0.5), (-0.5, 0.5), (-1, 0)}
    results = [tuple(surgery((1, 0), (-1, 1), (-1, -1), seed=seed)) for seed in range(40)]
    assert set(results) == sums
    assert results == [tuple(surgery((1, 0), (-1, 1), (-1, -1), seed=seed)) for seed in range(40)]


@pytest.mark.parametrize("count", [3, 4])
def test_the_order_of_the_projections_depends_on_the_seed(count):
    rng = np.random.default_rng(count)
    found = set()
    for seed in range(12):
        gradients = rng.normal(size=(count, 6))
        orders = [permutation(count, seed, "order", task).tolist() for task in range(count)]
        expected = reference(gradients, orders)
        assert surgery(*gradients, seed=seed) == pytest.approx(expected, abs=1e-5)
        found |= {tuple(order) for order in orders}
    assert len(found) > 3


def test_gradients_are_compared_over_all_shared_parameters_at_once():
    """The inner products are 2 on one parameter and -1 on the other: together the gradients do not conflict."""
    one, two = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    losses = {"a": (one + two).sum(), "b": (2 * one - two).sum()}
    PCGrad({"a": "classification", "b": "regression"}).backward(losses, Shared([one, two], two))
    assert one.grad.tolist() == [3]
    assert two.grad.tolist() == [0]


def test_task_specific_parameters_keep_their_gradient():
    """On the shared parameter, -6 and 2 conflict and both vanish; task-specific parameters keep their gradient."""
    shared = torch.ones(1, requires_grad=True)
    own_a, own_b = torch.tensor([-6.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    losses = {"a": (shared * own_a).sum(), "b": (shared * own_b).sum()}
    PCGrad({"a": "classification", "b": "regression"}).backward(losses, Shared([shared], shared))
    assert shared.grad.tolist() == pytest.approx([0], abs=1e-6)
    assert own_a.grad.tolist() == own_b.grad.tolist() == [1]


def test_a_parameter_that_only_some_tasks_use_counts_as_0_for_the_others_and_one_that_none_uses_gets_no_gradient():
    """g_a = (1, .), g_b = (-1, 2): product -1. a becomes a + 1/5 g_b = (1 - .2, .4); b becomes b + (1, 0) = (0, 2)."""
    both, only_b, none = (torch.zeros(1, requires_grad=True) for _ in range(3))
    losses = {"a": both.sum(), "b": (2 * only_b - both).sum()}
    PCGrad({"a": "classification", "b": "regression"}).backward(losses, Shared([both, only_b, none], none))
    assert both.grad.tolist() == pytest.approx([0.8])
    assert only_b.grad.tolist() == pytest.approx([2.4])
    assert none.grad is None


def test_tiny_gradients_do_not_divide_by_zero():
    """Their squares are 0 in fp32."""
    found = surgery((1e-30, 0), (-1e-30, 1e-30))
    assert np.isfinite(found).all()
    assert np.isfinite(surgery((1.0, 0), (-1e-30, 0))).all()


def test_without_shared_parameters_it_is_the_plain_sum():
    own = torch.zeros(2, requires_grad=True)
    losses = {"a": 2 * own[0], "b": 5 * own[1]}
    PCGrad({"a": "classification", "b": "regression"}).backward(losses, Shared([], None))
    assert own.grad.tolist() == [2, 5]
