"""Tests of every loss balancing."""

import pytest
import torch

from mbert_cli.loss_balancing import LearnedBalancing, Shared, stacked
from mbert_cli.model.components import component_class, kinds
from mbert_cli.model.tensor_files import load_tensors, write_tensors

KINDS = kinds("loss_balancing")
THREE = {"a": "classification", "b": "regression", "c": "classification"}


def make(kind, tasks=THREE):
    return component_class("loss_balancing", kind)(tasks)


class Toy:
    """A network with one shared layer and a scale for each task, trained with plain gradient descent."""

    def __init__(self, tasks=THREE):
        torch.manual_seed(3)
        self.shared = torch.randn(4, requires_grad=True)
        self.own = {name: torch.randn(4, requires_grad=True) for name in tasks}

    def losses(self, step):
        generator = torch.Generator().manual_seed(step)
        return {
            name: (self.shared * own + torch.randn(4, generator=generator)).square().mean()
            for name, own in self.own.items()
        }

    def train(self, balancing, steps):
        for step in steps:
            torch.manual_seed(step)
            for parameter in (self.shared, *self.own.values()):
                parameter.grad = None
            balancing.backward(self.losses(step), Shared([self.shared], self.shared))
            with torch.no_grad():
                for parameter in (self.shared, *self.own.values()):
                    parameter -= 0.01 * parameter.grad
            balancing.after_step(lambda step=step: self.losses(step))
            if step % 5 == 4:
                balancing.end_epoch()


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_losses_of_all_tasks(kind):
    toy = Toy()
    before = stacked(toy.losses(0)).detach()
    toy.train(make(kind), [0] * 200)
    assert (stacked(toy.losses(0)) < before).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_and_loaded_state_continues_bit_for_bit(kind, tmp_path):
    whole, kept = Toy(), make(kind)
    whole.train(kept, range(18))
    write_tensors(tmp_path / "balancing.safetensors", kept.state_dict())
    resumed = make(kind)
    load_tensors(resumed, tmp_path / "balancing.safetensors")
    copy = Toy()
    copy.shared = whole.shared.detach().clone().requires_grad_()
    copy.own = {name: own.detach().clone().requires_grad_() for name, own in whole.own.items()}
    whole.train(kept, range(18, 40))
    copy.train(resumed, range(18, 40))
    assert torch.equal(whole.shared, copy.shared)
    assert kept.state_dict().keys() == resumed.state_dict().keys()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in kept.state_dict().items())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("total", "squared", "pcgrad")])
def test_what_it_learns_is_in_its_state(kind):
    fresh, trained = make(kind), make(kind)
    Toy().train(trained, range(12))
    assert any(not torch.equal(value, fresh.state_dict()[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_equal_losses_with_equal_gradients_get_equal_weights(kind):
    parameter = torch.ones(3, requires_grad=True)
    tasks = dict.fromkeys("ab", "classification")
    make(kind, tasks).backward({name: parameter.sum() for name in tasks}, Shared([parameter], parameter))
    own = {name: torch.ones(3, requires_grad=True) for name in tasks}
    make(kind, tasks).backward({name: each.sum() for name, each in own.items()}, Shared([], None))
    assert torch.equal(own["a"].grad, own["b"].grad)
    assert (parameter.grad > 0).all()


class Plain(LearnedBalancing):
    """The base class without changes."""

    def forward(self, losses):
        return stacked(losses).sum()


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_values_descend_like_torchs_adam(decay):
    balancing = Plain(THREE, 0.5, 0.03, decay)
    values = torch.full((3,), 0.5, requires_grad=True)
    adam = torch.optim.Adam([values], lr=0.03, weight_decay=decay)
    torch.manual_seed(0)
    for _ in range(100):
        values.grad = torch.randn(3) * torch.tensor([1e-6, 1.0, 1e3])
        balancing.descend(values.grad.clone())
        adam.step()
        assert torch.allclose(balancing.values, values, rtol=1e-5, atol=1e-6)


def test_a_gradient_that_is_not_finite_changes_nothing():
    balancing = Plain(THREE, 0.5, 0.03)
    balancing.descend(torch.ones(3))
    before = {name: value.clone() for name, value in balancing.state_dict().items()}
    for odd in (float("nan"), float("inf")):
        balancing.descend(torch.tensor([1.0, odd, 1.0]))
    assert all(torch.equal(value, before[name]) for name, value in balancing.state_dict().items())
