import pytest
import torch

from mbert_cli.batch import Layout
from mbert_cli.pooling.cls import CLS
from mbert_cli.pooling.max import Max
from mbert_cli.pooling.mean import Mean

LOOPS = {
    CLS: lambda sentence: sentence[0],
    Mean: lambda sentence: sum(sentence) / len(sentence),
    Max: lambda sentence: torch.tensor(
        [max(sentence[:, i].tolist()) for i in range(sentence.shape[1])], dtype=sentence.dtype
    ),
}
RAGGED = [[1], [4], [3, 1, 4, 1, 5], [8, 9, 16, 17, 1], [40, 1, 2]]
every_pooling = pytest.mark.parametrize("pooling", [CLS(), Mean(), Max()], ids=["cls", "mean", "max"])


def stream(lengths: list[int], features: int = 3) -> torch.Tensor:
    # All values are negative, so zeros from padding would be the maximum.
    values = torch.randn(sum(lengths), features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return -values.abs() - 1


@every_pooling
@pytest.mark.parametrize("lengths", RAGGED)
def test_packed_pooling_equals_a_loop_over_sentences(pooling, lengths):
    x = stream(lengths)
    expected = torch.stack([LOOPS[type(pooling)](sentence) for sentence in x.split(lengths)])
    assert torch.allclose(pooling(x, Layout(lengths)), expected, rtol=1e-12, atol=0)


@every_pooling
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1e9])
def test_other_sentences_do_not_matter(pooling, odd):
    x = stream([2, 3, 4])
    before = pooling(x, Layout([2, 3, 4]))
    x[:2], x[5:] = odd, odd
    assert torch.equal(pooling(x, Layout([2, 3, 4]))[1], before[1])


@every_pooling
def test_segments_do_not_matter(pooling):
    x = stream([2, 3, 4])
    assert torch.equal(pooling(x, Layout([2, 3, 4], [1, 2])), pooling(x, Layout([2, 3, 4])))


@every_pooling
def test_pooling_in_float32_is_float32(pooling):
    assert pooling(stream([2, 3]).float(), Layout([2, 3])).dtype == torch.float32


@every_pooling
def test_pooling_in_bf16_computes_with_sufficient_precision(pooling):
    x = stream([200, 3]).bfloat16().requires_grad_()
    found = pooling(x, Layout([200, 3]))
    exact = pooling(x.detach().double(), Layout([200, 3]))
    assert torch.allclose(found.double(), exact, rtol=1e-5)
    found.sum().backward()
    assert x.grad.dtype == torch.bfloat16


@every_pooling
def test_pooling_has_no_parameters(pooling):
    assert list(pooling.parameters()) == []


def test_equal_maxima_share_the_gradient():
    x = torch.zeros(4, 1, dtype=torch.float64, requires_grad=True)
    Max()(x, Layout([3, 1])).sum().backward()
    assert x.grad[:3].sum().item() == pytest.approx(1)
    assert x.grad[3].item() == 1


def test_only_cls_can_use_the_encoders_pooler():
    assert [CLS().pooler, CLS(pooler=True).pooler, Mean().pooler, Max().pooler] == [False, True, False, False]
