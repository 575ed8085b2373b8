import numpy as np
import pytest
import torch
from components import numbers

from mbert_cli.heads.cosine_similarity import CosineSimilarity

COSINES = [0.8, -0.5, 0.0, 1.0]
LABELS = [4.0, 1.0, 2.0, 5.0]
# The similarity on a scale of 5 as a function of the cosine, in training and in prediction.
TRAINED = {"relu": [4, 0, 0, 5], "affine": [4.5, 1.25, 2.5, 5], "clamp": [4, -2.5, 0, 5], "none": [4, -2.5, 0, 5]}
PREDICTED = {"relu": [4, 0, 0, 5], "affine": [4.5, 1.25, 2.5, 5], "clamp": [4, 0, 0, 5], "none": [4, -2.5, 0, 5]}
every_activation = pytest.mark.parametrize("activation", list(TRAINED))


def pairs(count: int = 5, features: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, features, generator=generator), torch.randn(count, features, generator=generator)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


@pytest.mark.parametrize(
    ("hidden_activation", "between"), [("relu", lambda x: np.maximum(x, 0)), ("none", lambda x: x)]
)
def test_outputs_are_cosines_of_two_layers_shared_by_both_sentences(hidden_activation, between):
    torch.manual_seed(1)
    head = CosineSimilarity(4, hidden_activation=hidden_activation)
    u, v = pairs()
    (w1, b1), (w2, b2) = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (head.first, head.second)
    )
    projected = [between(side.numpy() @ w1.T + b1) @ w2.T + b2 for side in (u, v)]
    np.testing.assert_allclose(head(u, v).detach().numpy(), cosines(*projected), rtol=1e-4, atol=1e-5)


def test_identity_initialisation_without_activation_gives_the_plain_cosine():
    head = CosineSimilarity(4, hidden_activation="none", init="identity")
    u, v = pairs()
    np.testing.assert_allclose(head(u, v).detach().numpy(), cosines(u.numpy(), v.numpy()), rtol=1e-5, atol=1e-6)


def test_the_order_of_the_sentences_does_not_matter():
    head = CosineSimilarity(4)
    u, v = pairs()
    assert torch.allclose(head(u, v), head(v, u), atol=1e-6)


@every_activation
def test_loss_is_the_mean_squared_error_on_the_labels_scale(activation):
    head = CosineSimilarity(4, activation=activation)
    expected = np.mean([(p - y) ** 2 for p, y in zip(TRAINED[activation], LABELS, strict=True)])
    assert head.loss(torch.tensor(COSINES), torch.tensor(LABELS)).item() == pytest.approx(expected, rel=1e-5)


@every_activation
def test_predictions_are_similarities_and_their_cosines(activation):
    head = CosineSimilarity(4, activation=activation)
    columns = head.predict(torch.tensor(COSINES))
    assert list(columns) == head.labels.columns == ["pred", "score"]
    assert columns["pred"] == pytest.approx(PREDICTED[activation], abs=1e-5)
    assert columns["score"] == pytest.approx(COSINES, abs=1e-6)


@every_activation
def test_similarities_are_on_the_labels_scale(activation):
    head = CosineSimilarity(4, scale=2.0, activation=activation)
    expected = [value * 2 / 5 for value in PREDICTED[activation]]
    assert head.predict(torch.tensor(COSINES))["pred"] == pytest.approx(expected, abs=1e-5)


def test_a_negative_cosine_has_no_gradient_with_relu_but_has_one_with_clamp():
    for activation, dead in {"relu": True, "clamp": False, "affine": False, "none": False}.items():
        cosine = torch.tensor([-0.5], requires_grad=True)
        CosineSimilarity(4, activation=activation).loss(cosine, torch.tensor([3.0])).backward()
        assert (cosine.grad.item() == 0) is dead


def test_dead_pairs_are_reported_only_with_relu():
    outputs, labels = torch.tensor(COSINES), torch.tensor(LABELS)
    assert CosineSimilarity(4).metrics(outputs, labels)["dead_pairs"] == 0.5
    assert "dead_pairs" not in CosineSimilarity(4, activation="affine").metrics(outputs, labels)


def test_metrics_are_computed_from_the_predicted_similarities():
    found = CosineSimilarity(4).metrics(torch.tensor(COSINES), torch.tensor(LABELS))
    predicted, labels = np.array([4.0, 0, 0, 5]), np.array(LABELS)
    assert found["mse"] == pytest.approx((0 + 1 + 4 + 0) / 4, rel=1e-5)
    assert found["mae"] == pytest.approx((0 + 1 + 2 + 0) / 4, rel=1e-5)
    assert found["pearson"] == pytest.approx(cosines(predicted - predicted.mean(), labels - labels.mean()), rel=1e-5)
    assert numbers(found) == {*CosineSimilarity.metric_names, "dead_pairs"} - {"loss"}


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("5", 5), ("3.8", 3.8), (" 2.50 ", 2.5), ("1e0", 1), ("-0", 0)])
def test_labels_are_numbers_on_the_scale(text, value):
    assert CosineSimilarity(4).labels.parse(text) == value


@pytest.mark.parametrize("text", ["5.01", "6.0", "-0.1", "nan", "inf", "-inf", "many", "", "3,5", "٣", "0_1", "1_.5"])
def test_a_label_that_is_not_a_number_on_the_scale_is_refused(text):
    with pytest.raises(ValueError, match="must be a number from 0 to 5, but is") as error:
        CosineSimilarity(4).labels.parse(text)
    assert repr(text) in str(error.value)


def test_the_message_contains_the_scale():
    with pytest.raises(ValueError, match=r"must be a number from 0 to 1\.5, but is '2'"):
        CosineSimilarity(4, scale=1.5).labels.parse("2")


def test_a_sentence_vector_of_zeros_gives_a_finite_cosine_and_gradient():
    head = CosineSimilarity(4, hidden_activation="none", init="identity")
    u = torch.zeros(1, 4, requires_grad=True)
    cosine = head(u, torch.ones(1, 4))
    cosine.sum().backward()
    assert cosine.item() == 0
    assert u.grad.isfinite().all()


def test_a_clamped_prediction_stays_on_the_scale():
    assert CosineSimilarity(4, activation="clamp").predict(torch.tensor([1.5, -1.5]))["pred"] == [5, 0]
