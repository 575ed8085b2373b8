import torch

from mbert_cli.loss_balancing.squared import Squared

TWO = {"a": "classification", "b": "regression"}


def test_squared_is_the_sum_of_squares_and_weighs_a_loss_by_twice_itself():
    """3^2 + 0.5^2 = 9.25; the derivatives are 6 and 1."""
    losses = {"a": torch.tensor(3.0, requires_grad=True), "b": torch.tensor(0.5, requires_grad=True)}
    loss = Squared(TWO)(losses)
    loss.backward()
    assert loss.item() == 9.25
    assert [each.grad.item() for each in losses.values()] == [6, 1]


def test_a_loss_of_zero_has_no_weight():
    losses = {"a": torch.tensor(0.0, requires_grad=True), "b": torch.tensor(2.0, requires_grad=True)}
    Squared(TWO)(losses).backward()
    assert [each.grad.item() for each in losses.values()] == [0, 4]
