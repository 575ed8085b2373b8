"""Label smoothing and the focal loss, compared with PyTorch and with NumPy in fp64."""

import numpy as np
import pytest
import torch

from mbert_cli.errors import OptionError
from mbert_cli.heads.classification import Classification
from mbert_cli.heads.dual_classification import DualClassification
from mbert_cli.heads.multi_label import MultiLabel
from mbert_cli.heads.pair_classification import PairClassification

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(40, 5)) * 4
CLASSES = RNG.integers(0, 5, 40)
FLAGS = (RNG.random((40, 5)) < 0.3).astype(float)
WEIGHTS = [0.5, 1.0, 2.0, 3.0, 0.25]
BINARY = [PairClassification, DualClassification, MultiLabel]


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(each, dtype=float)) for each in arrays]


def built(kind, **options):
    given = {Classification: {"num_classes": 5}, MultiLabel: {"labels": list("abcde")}}.get(kind, {})
    return kind(4, **given, **options).double()


def binary_case(kind):
    """Return logits and labels of a binary head; a dual head has two logits for each row."""
    if kind is MultiLabel:
        return LOGITS, FLAGS
    return (LOGITS[:, :2], FLAGS[:, 0]) if kind is DualClassification else (LOGITS[:, 0], FLAGS[:, 0])


def focal_of_classes(gamma, weights):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    p = p[np.arange(len(p)), CLASSES]
    weights = np.asarray(weights)[CLASSES]
    return -(weights * (1 - p) ** gamma * np.log(p)).sum() / weights.sum()


def binary_of(logits, labels, gamma=0.0, weight=1.0):
    labels = labels[:, None] if logits.ndim > labels.ndim else labels
    p = 1 / (1 + np.exp(-logits))
    losses = weight * labels * (1 - p) ** gamma * np.log(p) + (1 - labels) * p**gamma * np.log(1 - p)
    return -losses.mean()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_label_smoothing_of_classes_is_that_of_pytorch_and_of_smoothed_labels(epsilon, weights):
    logits, labels = tensors(LOGITS, CLASSES)
    loss = built(Classification, label_smoothing=epsilon, class_weights=weights).training_loss(logits, labels).item()
    given = None if weights is None else torch.tensor(weights).double()
    expected = torch.nn.functional.cross_entropy(logits, labels.long(), given, label_smoothing=epsilon).item()
    assert loss == pytest.approx(expected, rel=1e-12)
    weights = np.ones(5) if weights is None else np.asarray(weights)
    smoothed = (1 - epsilon) * np.eye(5)[CLASSES] + epsilon / 5
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
    assert loss == pytest.approx(-(smoothed * weights * log_p).sum() / weights[CLASSES].sum(), rel=1e-12)


@pytest.mark.parametrize("kind", BINARY)
def test_label_smoothing_of_a_binary_head_is_that_of_two_classes(kind):
    logits, labels = binary_case(kind)
    loss = built(kind, label_smoothing=0.2).training_loss(*tensors(logits, labels)).item()
    labels = np.broadcast_to(labels[:, None] if logits.ndim > labels.ndim else labels, logits.shape)
    two = torch.stack(tensors(np.zeros(logits.size), logits.ravel()), -1)
    truth = torch.from_numpy(labels.ravel().copy()).long()
    expected = torch.nn.functional.cross_entropy(two, truth, label_smoothing=0.2).item()
    assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", BINARY)
def test_the_positive_weight_multiplies_the_smoothed_positive_label(kind):
    logits, labels = binary_case(kind)
    loss = built(kind, label_smoothing=0.2, positive_weight=3.0).training_loss(*tensors(logits, labels)).item()
    assert loss == pytest.approx(binary_of(logits, 0.8 * labels + 0.1, weight=3.0), rel=1e-12)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_the_focal_loss_of_classes_is_that_of_the_paper(gamma, weights):
    head = built(Classification, focal=gamma, class_weights=weights)
    loss = head.training_loss(*tensors(LOGITS, CLASSES)).item()
    assert loss == pytest.approx(focal_of_classes(gamma, weights or np.ones(5)), rel=1e-12)


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("kind", BINARY)
def test_the_focal_loss_of_a_binary_head_is_that_of_the_paper(kind, gamma, weight):
    logits, labels = binary_case(kind)
    loss = built(kind, focal=gamma, positive_weight=weight).training_loss(*tensors(logits, labels)).item()
    assert loss == pytest.approx(binary_of(logits, labels, gamma, weight), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradients_of_the_focal_loss_are_finite_for_confident_predictions(gamma):
    of_classes = torch.tensor([[200.0, 0.0, -200.0, 0.0, 0.0]] * 2, requires_grad=True)
    Classification(4, num_classes=5, focal=gamma).training_loss(of_classes, torch.tensor([0.0, 2.0])).backward()
    of_pairs = torch.tensor([200.0, -200.0, 200.0, -200.0], requires_grad=True)
    PairClassification(4, focal=gamma).training_loss(of_pairs, torch.tensor([1.0, 0.0, 0.0, 1.0])).backward()
    for logits in (of_classes, of_pairs):
        assert logits.grad.isfinite().all()
        assert logits.grad.abs().max() > 0.1, "wrong predictions have a gradient"


@pytest.mark.parametrize("options", [{"label_smoothing": 0.3}, {"focal": 2.0}], ids=["smoothing", "focal"])
@pytest.mark.parametrize("kind", [Classification, *BINARY])
def test_evaluation_reports_the_plain_loss(kind, options):
    logits, labels = (LOGITS, CLASSES) if kind is Classification else binary_case(kind)
    head = built(kind, **options)
    plain = built(kind).loss(*tensors(logits, labels))
    assert head.loss(*tensors(logits, labels)) == plain
    assert head.training_loss(*tensors(logits, labels)) != plain
    assert built(kind).training_loss(*tensors(logits, labels)) == plain


@pytest.mark.parametrize("kind", [Classification, *BINARY])
def test_label_smoothing_and_the_focal_loss_are_not_combined(kind):
    with pytest.raises(OptionError) as refusal:
        built(kind, label_smoothing=0.1, focal=2.0)
    assert (refusal.value.option, refusal.value.problem) == (
        "focal",
        "is 2, but label_smoothing is 0.1; remove one of them",
    )
