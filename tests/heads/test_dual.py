"""The two heads that read a pair both ways, and compare its tokens."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from mbert_cli.heads.dual_classification import DualClassification
from mbert_cli.heads.dual_similarity import DualSimilarity

HEADS = (DualClassification, DualSimilarity)
every_head = pytest.mark.parametrize("kind", HEADS)
with_and_without = pytest.mark.parametrize("parts", [2, 3])
# Of a classification three logits; of a similarity one, and two shares of the scale, which leave it at places.
LOGITS = torch.tensor([[2.0, -1.0, 1.0], [-0.5, -1.5, 0.0], [0.2, 0.4, -2.0], [3.0, 0.0, 4.0]])
SHARES = torch.tensor([[2.0, 0.7, 0.9], [-0.5, -0.1, 0.2], [0.2, 0.4, 0.5], [3.0, 0.9, 1.05]])
CLASSES, VALUES = [1.0, 0.0, 0.0, 1.0], [4.0, 1.0, 2.5, 5.0]
SIMILARITY = torch.tensor([0.1, 0.5, 0.7, 0.9, -0.2])


def vectors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 4, generator=generator) for _ in range(3)]


def cross_entropy(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    p = expit(logits)
    return -(shares * np.log(p) + (1 - shares) * np.log(1 - p))


def mean_logit(outputs: torch.Tensor) -> np.ndarray:
    """Of a similarity."""
    found = outputs.double().numpy()
    return np.column_stack([found[:, 0], logit(found[:, 1:].clip(0.01, 0.99))]).mean(1)


def test_a_classifications_logits_are_the_siamese_one_and_the_cross_encoders():
    torch.manual_seed(1)
    head = DualClassification(4).eval()
    u, v, x = vectors()
    siamese = torch.cat([u, v, (u - v).abs()], -1) @ head.apart.linear.weight[0] + head.apart.linear.bias
    joined = x @ head.joined[1].weight[0] + head.joined[1].bias
    assert torch.allclose(head(u, v, x), torch.stack([siamese, joined], 1), atol=1e-6)


def test_a_similaritys_parts_are_the_cross_encoders_logit_and_a_line_in_the_cosine():
    torch.manual_seed(1)
    head = DualSimilarity(4).eval()
    torch.nn.init.normal_(head.projection.weight)
    u, v, x = vectors()
    cosine = torch.cosine_similarity(u @ head.projection.weight.T, v @ head.projection.weight.T)
    joined = x @ head.joined.linear.weight[0] + head.joined.linear.bias
    assert torch.allclose(head(u, v, x), torch.stack([joined, 0.9 * cosine + 0.05], 1), atol=1e-5)


def test_a_fresh_similarity_starts_at_the_encoders_own_cosine():
    u, v, x = vectors()
    assert torch.allclose(DualSimilarity(4)(u, v, x)[:, 1], 0.9 * torch.cosine_similarity(u, v) + 0.05, atol=1e-5)


@every_head
def test_late_interaction_is_a_third_part(kind):
    torch.manual_seed(1)
    plain = kind(4).eval()
    torch.manual_seed(1)
    head = kind(4, late_interaction=True).eval()
    assert (plain.late_interaction, head.late_interaction) == (False, True)
    found = head(*vectors(), SIMILARITY)
    assert torch.equal(found[:, :2], plain(*vectors()))
    expected = 10 * SIMILARITY - 6 if kind is DualClassification else 1.35 * SIMILARITY - 0.37
    assert torch.allclose(found[:, 2], expected, atol=1e-5)


@with_and_without
def test_a_classifications_loss_is_the_mean_of_the_parts_cross_entropies(parts):
    expected = cross_entropy(LOGITS.numpy(), np.array(CLASSES)[:, None])[:, :parts].mean()
    found = DualClassification(4).loss(LOGITS[:, :parts], torch.tensor(CLASSES))
    assert found.item() == pytest.approx(expected, rel=1e-5)


@with_and_without
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_a_similaritys_loss_is_the_mean_of_the_cross_encoders_and_of_squared_errors(parts, loss):
    outputs, shares = SHARES[:, :parts].numpy(), np.array(VALUES) / 5
    errors = (outputs[:, 1:] - shares[:, None]) ** 2
    if loss == "cross_entropy":
        joined, weight = cross_entropy(outputs[:, 0], shares), 2
    else:
        joined, weight = 25 * (expit(outputs[:, 0]) - shares) ** 2, 25
    expected = (joined.mean() + weight * errors.mean(0).sum()) / parts
    found = DualSimilarity(4, loss=loss).loss(SHARES[:, :parts], torch.tensor(VALUES))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_all_parts_weigh_positive_examples():
    labels = np.array(CLASSES)[:, None]
    expected = (np.where(labels == 1, 3, 1) * cross_entropy(LOGITS.numpy(), labels)).mean()
    found = DualClassification(4, positive_weight=3.0).loss(LOGITS, torch.tensor(CLASSES))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_balanced_weight_is_counted():
    head = DualClassification(4, positive_weight="balanced")
    head.observe(torch.tensor([0.0, 0, 0, 1]))
    assert head.apart.positive_weight.item() == 3


@every_head
def test_each_part_learns_from_its_own_inputs_alone(kind):
    inputs = [each.requires_grad_() for each in (*vectors(), SIMILARITY.clone())]
    both, joined, late = (True, True, False, False), (False, False, True, False), (False, False, False, True)
    for part, reads in enumerate((both, joined, late) if kind is DualClassification else (joined, both, late)):
        torch.manual_seed(2)
        head = kind(4, late_interaction=True).eval()
        found = torch.autograd.grad(head(*inputs)[:, part].sum(), inputs, allow_unused=True)
        assert [each is not None and bool(each.any()) for each in found] == list(reads)


@with_and_without
def test_a_class_is_predicted_by_the_mean_of_the_logits(parts):
    columns = DualClassification(4, labels=["no", "yes"]).predict(LOGITS[:, :parts])
    expected = LOGITS.numpy()[:, :parts].mean(1)
    assert columns["score"] == pytest.approx(expit(expected), rel=1e-5)
    assert columns["pred"] == ["yes" if each > 0 else "no" for each in expected]


@with_and_without
def test_a_similarity_is_predicted_by_the_mean_of_the_logits(parts):
    outputs = SHARES[:, :parts]
    columns = DualSimilarity(4).predict(outputs)
    assert columns["pred"] == pytest.approx(5 * expit(mean_logit(outputs)), rel=1e-5)
    assert columns["score"] == pytest.approx(expit(mean_logit(outputs)), rel=1e-5)


def test_metrics_are_those_of_the_predictions():
    outputs = LOGITS[:, :2]
    assert DualClassification(4).metrics(outputs, torch.tensor(CLASSES))["confusion"] == [[1, 1], [0, 2]]
    expected = np.corrcoef(expit(mean_logit(SHARES)), VALUES)[0, 1]
    assert DualSimilarity(4).metrics(SHARES, torch.tensor(VALUES))["pearson"] == pytest.approx(expected, rel=1e-5)


def test_a_temperature_or_a_threshold_acts_on_the_mean():
    head, outputs = DualClassification(4), LOGITS[:, :2]
    head.decision = head.decision.model_copy(update={"temperature": 2.0, "cut": 1.0})
    assert head.predict(outputs)["score"] == pytest.approx(expit(outputs.numpy().mean(1) / 2), rel=1e-5)
    assert head.predict(outputs)["pred"] == ["0", "0", "0", "1"]


@pytest.mark.parametrize("text", ["5.5", "many"])
def test_labels_off_the_scale_are_refused(text):
    with pytest.raises(ValueError, match="must be a number from 0 to 5"):
        DualSimilarity(4).parse_label(text)
