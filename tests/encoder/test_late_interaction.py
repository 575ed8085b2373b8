"""MaxSim of packed and of padded pairs."""

import numpy as np
import pytest
import torch

from mbert_cli.batch import Layout
from mbert_cli.encoder.late_interaction import LateLogit, max_sim, padded_max_sim

LENGTHS = [3, 1, 7, 2, 9, 1]  # three first texts, then three second texts
WHOLE = [5, 2, 8]  # the sequences of both texts of each pair


def stream(lengths: list[int], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(each, 4, generator=generator, dtype=torch.float64).to(dtype) for each in lengths]


def by_hand(u: torch.Tensor, v: torch.Tensor) -> float:
    cosines = [[float(a @ b / a.norm() / b.norm()) for b in v.double()] for a in u.double()]
    return (np.mean(np.max(cosines, 1)) + np.mean(np.max(cosines, 0))) / 2


@pytest.mark.parametrize("rest", [[], WHOLE])
def test_every_token_is_matched_with_the_most_similar_one_of_the_other_text(rest):
    texts = stream(LENGTHS + rest)
    found = max_sim(torch.cat(texts), Layout(LENGTHS + rest), 3)
    expected = [by_hand(u, v) for u, v in zip(texts[:3], texts[3:6], strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_text_is_most_similar_to_itself_and_the_order_does_not_matter():
    first, second, _ = stream([4, 6, 1])
    one = max_sim(torch.cat([first, second, second, first]), Layout([4, 6, 6, 4]), 2)
    assert one[0].item() == pytest.approx(one[1].item())
    assert max_sim(torch.cat([first, first]), Layout([4, 4]), 1).item() == pytest.approx(1)
    assert max_sim(torch.cat([first, -first[:1]]), Layout([4, 1]), 1).item() > -1
    assert max_sim(torch.cat([first[:1], -first[:1]]), Layout([1, 1]), 1).item() == pytest.approx(-1)


def test_padding_does_not_count():
    texts = stream(LENGTHS)
    padded = torch.full((6, 11, 4), 1e3, dtype=torch.float64)
    mask = torch.zeros(6, 11, dtype=torch.bool)
    for row, text in enumerate(texts):
        padded[row, : len(text)], mask[row, : len(text)] = text, True
    found = padded_max_sim(padded[:3, :7], padded[3:], mask[:3, :7], mask[3:])
    assert torch.allclose(found, max_sim(torch.cat(texts), Layout(LENGTHS), 3))


def test_gradients_equal_finite_differences():
    h = torch.cat(stream(LENGTHS + WHOLE)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: max_sim(x, Layout(LENGTHS + WHOLE), 3), h)


def test_bf16_states_are_compared_in_fp32():
    texts = stream(LENGTHS, torch.bfloat16)
    found = max_sim(torch.cat(texts), Layout(LENGTHS), 3)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([by_hand(u, v) for u, v in zip(texts[:3], texts[3:], strict=True)], rel=1e-5)


def test_an_empty_batch_gives_an_empty_result():
    assert max_sim(torch.zeros(0, 4), Layout([]), 0).shape == (0,)


def test_a_fresh_logit_separates_dissimilar_from_similar_texts():
    assert LateLogit()(torch.tensor([0.3, 0.6, 1.0])).tolist() == pytest.approx([-3, 0, 4], abs=1e-5)
