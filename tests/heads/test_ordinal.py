import numpy as np
import pytest
import torch
from components import numbers
from scipy.special import expit
from sklearn import metrics as sk

from mbert_cli.heads.ordinal import Ordinal
from mbert_cli.metrics import ordinal_metrics

NAMES = ["never", "seldom", "often", "always"]


def head() -> Ordinal:
    built = Ordinal(4, labels=NAMES).eval()
    with torch.no_grad():
        built.linear.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 0.0]]))
        built.first.fill_(-1.5)
        built.steps.copy_(torch.tensor([0.3, -2.0]))
    return built


def inputs(count=6):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(0))


def cumulative(built, u):
    """Return P(y > k) by the formula of the proportional odds model."""
    steps = np.log1p(np.exp(built.steps.detach().numpy()))
    thresholds = np.concatenate([[-1.5], -1.5 + np.cumsum(steps)])
    return expit((u @ built.linear.weight.detach()[0]).numpy()[:, None] - thresholds)


def test_probabilities_are_those_of_proportional_odds():
    above = cumulative(head(), inputs())
    edges = np.hstack([np.ones((6, 1)), above, np.zeros((6, 1))])
    np.testing.assert_allclose(head()(inputs()).exp().detach().numpy(), edges[:, :-1] - edges[:, 1:], atol=1e-6)


def test_the_loss_is_the_mean_negative_log_likelihood():
    outputs, labels = head()(inputs()), torch.tensor([0.0, 1, 2, 3, 1, 0])
    expected = -outputs[torch.arange(6), labels.long()].mean()
    assert head().loss(outputs, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    one_hot = torch.nn.functional.one_hot(labels.long(), 4).float()
    assert head().soft_loss(outputs, one_hot).item() == pytest.approx(expected.item(), rel=1e-6)


def test_outputs_and_gradients_are_finite_for_extreme_scores():
    built = head()
    outputs = built(torch.tensor([[1e4, 0, 0, 0], [-1e4, 0, 0, 0]]))
    built.loss(outputs, torch.tensor([0.0, 3.0])).backward()
    assert outputs.isfinite().all()
    assert all(each.grad.isfinite().all() for each in built.parameters())


def test_thresholds_ascend_whatever_is_trained():
    built = head()
    optimizer = torch.optim.SGD(built.parameters(), lr=5.0)
    for _ in range(20):
        optimizer.zero_grad()
        built.loss(built(inputs()), torch.tensor([3.0, 0, 3, 0, 3, 0])).backward()
        optimizer.step()
    assert (built.thresholds().diff() > 0).all()


def test_thresholds_start_at_equal_distances_around_0():
    assert Ordinal(4, labels=NAMES).thresholds().tolist() == pytest.approx([-1, 0, 1], abs=1e-6)


def test_predictions_are_the_class_with_the_smallest_expected_distance_and_all_probabilities():
    columns = head().predict(head()(inputs(40)).detach())
    assert list(columns) == ["pred", *(f"p_{name}" for name in NAMES)]
    probabilities = np.array([columns[f"p_{name}"] for name in NAMES]).T
    distances = np.abs(np.arange(4)[:, None] - np.arange(4))
    nearest = (probabilities @ distances).argmin(1)
    assert (nearest != probabilities.argmax(1)).any()
    assert columns["pred"] == [NAMES[index] for index in nearest]


def test_a_middle_class_is_predicted_before_training():
    """Between thresholds at -1, 0 and 1, a class in the middle is never the most likely one."""
    built = Ordinal(1, labels=NAMES).eval()
    with torch.no_grad():
        built.linear.weight.fill_(1.0)
    outputs = built(torch.tensor([[-1.5], [-0.5], [0.5], [1.5]])).detach()
    assert outputs.argmax(1).tolist() == [0, 0, 3, 3]
    assert built.classes(outputs).tolist() == [0, 1, 2, 3]


def test_a_temperature_changes_no_prediction_and_exported_probabilities_give_the_same():
    """An exported graph has the probabilities with the temperature; its `config.json` names this rule."""
    built = head()
    outputs = built(inputs(40)).detach()
    classes = built.classes(outputs)
    built.decision = built.decision.model_copy(update={"temperature": 2.5})
    assert built.classes(outputs).tolist() == classes.tolist()
    sums = (built.probabilities(outputs).double().numpy() ** 2.5).cumsum(1)
    assert (sums < sums[:, -1:] / 2).sum(1).tolist() == classes.tolist()


@pytest.mark.parametrize("count", [1, 3, 200])
def test_metrics_agree_with_scikit_learn(count):
    rng = np.random.default_rng(count)
    y = rng.integers(0, 4, count)
    p = np.clip(y + rng.integers(-1, 2, count), 0, 3)
    found = ordinal_metrics(p, y, 4)
    assert abs(found["mae"] - sk.mean_absolute_error(y, p)) < 1e-12
    if len({*y, *p}) > 1:
        assert abs(found["quadratic_kappa"] - sk.cohen_kappa_score(y, p, weights="quadratic")) < 1e-12


def test_kappa_is_0_if_all_rows_are_and_get_one_class():
    assert ordinal_metrics(np.array([2, 2]), np.array([2, 2]), 4) == {"quadratic_kappa": 0.0, "mae": 0.0}


def test_the_head_reports_the_metrics_that_may_select_a_model():
    found = head().metrics(head()(inputs()).detach(), torch.tensor([0.0, 1, 2, 3, 1, 0]))
    assert numbers(found) == {*Ordinal.metric_names} - {"loss"}
    assert found["labels"] == NAMES
