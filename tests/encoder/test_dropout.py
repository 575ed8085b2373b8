import pytest
import torch

from mbert_cli.encoder.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_has_the_right_rate_and_preserves_the_mean(p):
    torch.manual_seed(0)
    out = dropout(torch.ones(1000, 1001), p)
    count = out.numel()
    assert abs((out == 0).double().mean().item() - p) < 5 * (p * (1 - p) / count) ** 0.5
    assert abs(out.double().mean().item() - 1) < 5 * (p / (1 - p) / count) ** 0.5


def test_masks_repeat_with_the_seed_and_differ_between_calls():
    x = torch.ones(64, 65)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x, 0.5))
    assert not torch.equal(first, second)


def test_neighbouring_values_are_dropped_independently():
    torch.manual_seed(0)
    kept = (dropout(torch.ones(400_000), 0.5) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert abs((kept[:-distance] * kept[distance:]).mean().item()) < 5 * 0.25 / 400_000**0.5


def test_gradient_is_the_mask():
    x = torch.randn(7, 9, requires_grad=True)
    torch.manual_seed(1)
    out = dropout(x, 0.25)
    out.sum().backward()
    assert torch.allclose(out, x * x.grad)


def test_dropout_is_the_identity_in_evaluation_and_at_rate_zero():
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert dropout(x, 0.0) is x
    assert torch.equal(dropout(x, 1.0), torch.zeros(5))
