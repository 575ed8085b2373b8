"""The two heads that read a pair both ways, and compare its tokens."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from mbert_cli.heads.dual_classification import DualClassification
from mbert_cli.heads.dual_similarity import DualSimilarity

OUTPUTS = torch.tensor([[2.0, -1.0], [-0.5, -1.5], [0.2, 0.4], [3.0, 0.0]])
HEADS = (DualClassification, DualSimilarity)
LABELS = {DualClassification: [1.0, 0.0, 0.0, 1.0], DualSimilarity: [4.0, 1.0, 2.5, 5.0]}
every_head = pytest.mark.parametrize("kind", HEADS)


def vectors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 4, generator=generator) for _ in range(3)]


def cross_entropy(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    p = expit(logits)
    return -(shares * np.log(p) + (1 - shares) * np.log(1 - p))


def test_a_classifications_logits_are_the_siamese_one_and_the_cross_encoders():
    torch.manual_seed(1)
    head = DualClassification(4).eval()
    u, v, x = vectors()
    siamese = torch.cat([u, v, (u - v).abs()], -1) @ head.apart.linear.weight[0] + head.apart.linear.bias
    joined = x @ head.joined[1].weight[0] + head.joined[1].bias
    assert torch.allclose(head(u, v, x), torch.stack([siamese, joined], 1), atol=1e-6)


def test_a_similaritys_logits_are_the_cosines_and_the_cross_encoders():
    torch.manual_seed(1)
    head = DualSimilarity(4).eval()
    torch.nn.init.normal_(head.projection.weight)
    u, v, x = vectors()
    cosine = torch.cosine_similarity(u @ head.projection.weight.T, v @ head.projection.weight.T)
    joined = x @ head.joined.linear.weight[0] + head.joined.linear.bias
    assert torch.allclose(head(u, v, x), torch.stack([6 * cosine - 3, joined], 1), atol=1e-5)


@every_head
def test_late_interaction_is_a_third_part(kind):
    torch.manual_seed(1)
    plain = kind(4).eval()
    torch.manual_seed(1)
    head = kind(4, late_interaction=True).eval()
    assert (plain.late_interaction, head.late_interaction) == (False, True)
    similarity = torch.tensor([0.1, 0.5, 0.7, 0.9, -0.2])
    found = head(*vectors(), similarity)
    assert torch.equal(found[:, :2], plain(*vectors()))
    assert found[:, 2].tolist() == pytest.approx((10 * similarity - 6).tolist(), abs=1e-5)


@every_head
@pytest.mark.parametrize("parts", [2, 3])
def test_every_part_counts_the_same_in_loss_and_prediction(kind, parts):
    outputs = torch.cat([OUTPUTS, torch.tensor([[1.0], [0.0], [-2.0], [4.0]])], 1)[:, :parts]
    labels = np.array(LABELS[kind])
    shares = labels / 5 if kind is DualSimilarity else labels
    head, expected = kind(4, late_interaction=parts == 3), outputs.numpy().mean(1)
    loss = head.loss(outputs, torch.tensor(LABELS[kind])).item()
    assert loss == pytest.approx(cross_entropy(outputs.numpy(), shares[:, None]).mean(), rel=1e-5)
    scale = 5 if kind is DualSimilarity else 1
    column = "pred" if kind is DualSimilarity else "score"
    assert head.predict(outputs)[column] == pytest.approx(scale * expit(expected), rel=1e-5)


def test_a_fresh_similarity_starts_at_the_encoders_own_cosine():
    head = DualSimilarity(4)
    u, v, x = vectors()
    assert torch.allclose(head(u, v, x)[:, 0], 6 * torch.cosine_similarity(u, v) - 3, atol=1e-5)


def test_both_parts_weigh_positive_examples():
    labels = np.array(LABELS[DualClassification])[:, None]
    expected = (np.where(labels == 1, 3, 1) * cross_entropy(OUTPUTS.numpy(), labels)).mean()
    found = DualClassification(4, positive_weight=3.0).loss(OUTPUTS, torch.tensor(LABELS[DualClassification]))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_balanced_weight_is_counted():
    head = DualClassification(4, positive_weight="balanced")
    head.observe(torch.tensor([0.0, 0, 0, 1]))
    assert head.apart.positive_weight.item() == 3


@every_head
def test_each_part_learns_from_its_own_vectors_alone(kind):
    sides = [each.requires_grad_() for each in vectors()]
    for part, reads in enumerate(((True, True, False), (False, False, True))):
        torch.manual_seed(2)
        head = kind(4).eval()
        found = torch.autograd.grad(head(*sides)[:, part].sum(), sides, allow_unused=True)
        assert [bool(each.any()) for each in found] == list(reads)


def test_a_class_is_predicted_by_the_mean_of_the_logits():
    columns = DualClassification(4, labels=["no", "yes"]).predict(OUTPUTS)
    assert columns["score"] == pytest.approx(expit(OUTPUTS.numpy().mean(1)), rel=1e-5)
    assert columns["pred"] == ["yes", "no", "yes", "yes"]


def test_a_similarity_is_predicted_by_the_mean_of_the_logits():
    columns = DualSimilarity(4).predict(OUTPUTS)
    assert columns["pred"] == pytest.approx(5 * expit(OUTPUTS.numpy().mean(1)), rel=1e-5)


def test_metrics_are_those_of_the_predictions():
    labels = torch.tensor(LABELS[DualClassification])
    assert DualClassification(4).metrics(OUTPUTS, labels)["confusion"] == [[1, 1], [0, 2]]
    labels = torch.tensor(LABELS[DualSimilarity])
    predicted = 5 * expit(OUTPUTS.numpy().mean(1))
    expected = np.corrcoef(predicted, labels.numpy())[0, 1]
    assert DualSimilarity(4).metrics(OUTPUTS, labels)["pearson"] == pytest.approx(expected, rel=1e-5)


def test_a_temperature_or_a_threshold_acts_on_the_mean():
    head = DualClassification(4)
    head.decision = head.decision.model_copy(update={"temperature": 2.0, "cut": 1.0})
    assert head.predict(OUTPUTS)["score"] == pytest.approx(expit(OUTPUTS.numpy().mean(1) / 2), rel=1e-5)
    assert head.predict(OUTPUTS)["pred"] == ["0", "0", "0", "1"]


@pytest.mark.parametrize("text", ["5.5", "many"])
def test_labels_off_the_scale_are_refused(text):
    with pytest.raises(ValueError, match="must be a number from 0 to 5"):
        DualSimilarity(4).parse_label(text)
