"""The two heads that read a pair as two sequences and as one; one of them can also use late interaction."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from mbert_cli.heads.dual_classification import DualClassification
from mbert_cli.heads.dual_similarity import DualSimilarity

OUTPUTS = torch.tensor([[2.0, -1.0, 1.0], [-3.5, -4.5, -3.0], [0.2, 0.4, -3.5], [4.0, 3.0, 4.0]])
CLASSES, VALUES = [1.0, 0.0, 0.0, 1.0], [4.0, 1.0, 2.5, 5.0]
LABELS = {DualClassification: CLASSES, DualSimilarity: VALUES}
SIMILARITY = torch.tensor([0.1, 0.5, 0.7, 0.9, -0.2])


def vectors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 4, generator=generator) for _ in range(3)]


def cross_entropy(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    p = expit(logits)
    return -(shares * np.log(p) + (1 - shares) * np.log(1 - p))


def share(outputs: torch.Tensor) -> np.ndarray:
    """Return the predicted share of the scale: the hard sigmoid of the mean logit."""
    return (outputs.double().numpy().mean(1) / 6 + 0.5).clip(0, 1)


def test_the_logits_of_a_classification_are_siamese_and_cross_encoder():
    torch.manual_seed(1)
    head = DualClassification(4).eval()
    u, v, x = vectors()
    siamese = torch.cat([u, v, (u - v).abs()], -1) @ head.apart.linear.weight[0] + head.apart.linear.bias
    joined = x @ head.joined[1].weight[0] + head.joined[1].bias
    assert torch.allclose(head(u, v, x), torch.stack([siamese, joined], 1), atol=1e-6)


def test_the_logits_of_a_similarity_are_cross_encoder_and_cosine():
    torch.manual_seed(1)
    head = DualSimilarity(4).eval()
    torch.nn.init.normal_(head.projection.weight)
    u, v, x = vectors()
    cosine = torch.cosine_similarity(u @ head.projection.weight.T, v @ head.projection.weight.T)
    joined = x @ head.joined.linear.weight[0] + head.joined.linear.bias
    assert torch.allclose(head(u, v, x), torch.stack([joined, 6 * cosine - 3], 1), atol=1e-5)


def test_a_new_similarity_head_starts_at_the_cosine_of_the_encoder():
    u, v, x = vectors()
    assert torch.allclose(DualSimilarity(4)(u, v, x)[:, 1], 6 * torch.cosine_similarity(u, v) - 3, atol=1e-5)


def test_late_interaction_adds_a_third_logit():
    torch.manual_seed(1)
    plain = DualSimilarity(4).eval()
    torch.manual_seed(1)
    head = DualSimilarity(4, late_interaction=True).eval()
    assert (plain.late_interaction, head.late_interaction) == (False, True)
    found = head(*vectors(), SIMILARITY)
    assert torch.equal(found[:, :2], plain(*vectors()))
    assert torch.allclose(found[:, 2], 10 * SIMILARITY - 6, atol=1e-5)


@pytest.mark.parametrize(("kind", "parts"), [(DualClassification, 2), (DualSimilarity, 2), (DualSimilarity, 3)])
def test_the_loss_is_the_mean_of_the_parts_losses(kind, parts):
    outputs, labels = OUTPUTS[:, :parts], LABELS[kind]
    shares = np.array(labels) / (5 if kind is DualSimilarity else 1)
    expected = cross_entropy(outputs.numpy(), shares[:, None]).mean()
    assert kind(4).loss(outputs, torch.tensor(labels)).item() == pytest.approx(expected, rel=1e-5)


def test_the_positive_weight_applies_to_both_parts():
    outputs = OUTPUTS[:, :2]
    labels = np.array(CLASSES)[:, None]
    expected = (np.where(labels == 1, 3, 1) * cross_entropy(outputs.numpy(), labels)).mean()
    found = DualClassification(4, positive_weight=3.0).loss(outputs, torch.tensor(CLASSES))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_balanced_weight_is_computed_from_the_labels():
    head = DualClassification(4, positive_weight="balanced")
    head.observe(torch.tensor([0.0, 0, 0, 1]))
    assert head.apart.positive_weight.item() == 3


BOTH, JOINED, LATE = (True, True, False, False), (False, False, True, False), (False, False, False, True)


@pytest.mark.parametrize(
    ("kind", "options", "reads"),
    [(DualClassification, {}, (BOTH, JOINED)), (DualSimilarity, {"late_interaction": True}, (JOINED, BOTH, LATE))],
)
def test_each_part_has_gradients_only_from_its_own_inputs(kind, options, reads):
    inputs = [each.requires_grad_() for each in (*vectors(), SIMILARITY.clone())]
    for part, expected in enumerate(reads):
        torch.manual_seed(2)
        head = kind(4, **options).eval()
        given = inputs if head.late_interaction else inputs[:3]
        found = torch.autograd.grad(head(*given)[:, part].sum(), inputs, allow_unused=True)
        assert [each is not None and bool(each.any()) for each in found] == list(expected)


def test_the_class_is_predicted_from_the_mean_logit():
    columns = DualClassification(4, labels=["no", "yes"]).predict(OUTPUTS[:, :2])
    expected = OUTPUTS.numpy()[:, :2].mean(1)
    assert columns["score"] == pytest.approx(expit(expected), rel=1e-5)
    assert columns["pred"] == ["yes" if each > 0 else "no" for each in expected]


@pytest.mark.parametrize("parts", [2, 3])
def test_the_similarity_is_predicted_from_the_mean_logit(parts):
    outputs = OUTPUTS[:, :parts]
    columns = DualSimilarity(4).predict(outputs)
    assert columns["pred"] == pytest.approx(5 * share(outputs), rel=1e-5)
    assert columns["score"] == pytest.approx(share(outputs), rel=1e-5)


def test_metrics_are_computed_from_the_predictions():
    outputs = OUTPUTS[:, :2]
    assert DualClassification(4).metrics(outputs, torch.tensor(CLASSES))["confusion"] == [[1, 1], [0, 2]]
    expected = np.corrcoef(share(OUTPUTS), VALUES)[0, 1]
    assert DualSimilarity(4).metrics(OUTPUTS, torch.tensor(VALUES))["pearson"] == pytest.approx(expected, rel=1e-5)


def test_temperature_and_threshold_apply_to_the_mean_logit():
    head, outputs = DualClassification(4), OUTPUTS[:, :2]
    head.decision = head.decision.model_copy(update={"temperature": 2.0, "cut": 1.0})
    assert head.predict(outputs)["score"] == pytest.approx(expit(outputs.numpy().mean(1) / 2), rel=1e-5)
    assert head.predict(outputs)["pred"] == ["0", "0", "0", "1"]


@pytest.mark.parametrize("text", ["5.5", "many"])
def test_labels_outside_the_scale_are_refused(text):
    with pytest.raises(ValueError, match="must be a number from 0 to 5"):
        DualSimilarity(4).labels.parse(text)


def test_both_classes_can_be_renamed():
    head = DualClassification(4, labels={"0": "no", "1": "yes"})
    assert [head.labels.parse(text) for text in ("0", "1")] == [0, 1]
    assert head.labels.names == ["no", "yes"]
