import pytest
import torch

from mbert_cli.loss_balancing.total import Total

TWO = {"a": "classification", "b": "regression"}


@pytest.mark.parametrize("values", [[0.5], [1.5, 0.25], [1.5, 0.25, 3.0], [2.0, -0.5]])
def test_total_is_the_sum_of_the_losses(values):
    losses = {f"task{i}": torch.tensor(value) for i, value in enumerate(values)}
    assert Total(dict.fromkeys(losses, "classification"))(losses).item() == sum(values)


def test_every_loss_has_the_same_weight():
    losses = {name: torch.tensor(value, requires_grad=True) for name, value in {"a": 1.0, "b": 100.0}.items()}
    Total(TWO)(losses).backward()
    assert [loss.grad.item() for loss in losses.values()] == [1, 1]


def test_a_loss_that_is_not_finite_stays_so():
    assert Total(TWO)({"a": torch.tensor(1.0), "b": torch.tensor(float("nan"))}).isnan()
