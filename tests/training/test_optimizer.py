import copy
import sys

import pytest
import torch
from torch import nn

from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.recipe.sections import TrainingSection
from mbert_cli.training.optimizer import Clipping, learning_rate_factor

pytest.importorskip("numba")
ROWS, HIDDEN = 60, 32


def groups(*parameters, weight_decay=0.1):
    return [{"params": list(parameters), "base_lr": 1e-2, "weight_decay": weight_decay}]


def steps(count, seed=0):
    """Yield for each step the learning rate, the rows with a gradient, and their gradients."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(count):
        # Row 0 in every step, row 1 only in the first and last steps, the others in some steps.
        common = torch.randint(2, ROWS, (5,), generator=generator)
        rare = [1] if step in (0, 1, count - 1) else []
        rows = torch.unique(torch.cat([torch.tensor([0, *rare]), common]))
        yield 1e-2 * (1 - step / count), rows, torch.randn(len(rows), HIDDEN, generator=generator)


def sparse(rows, gradients):
    return torch.sparse_coo_tensor(rows[None], gradients, (ROWS, HIDDEN), is_coalesced=True, check_invariants=True)


def dense(rows, gradients):
    return torch.zeros(ROWS, HIDDEN).index_copy_(0, rows, gradients)


def take(optimizer, table, rate, gradient, rows):
    optimizer.param_groups[0]["lr"] = rate
    optimizer.catch_up(rows)
    table.grad = gradient
    optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rows_move_as_with_dense_gradients_after_any_number_of_skipped_steps(weight_decay):
    start = torch.randn(ROWS, HIDDEN)
    rowwise, plain = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = RowwiseAdamW(groups(rowwise, weight_decay=weight_decay), 1e-2)
    theirs = torch.optim.AdamW(groups(plain, weight_decay=weight_decay), 1e-2)
    for rate, rows, gradients in steps(400):
        take(ours, rowwise, rate, sparse(rows, gradients), rows)
        theirs.param_groups[0]["lr"] = rate
        plain.grad = dense(rows, gradients)
        theirs.step()
        assert torch.allclose(rowwise[rows], plain[rows], atol=2e-6)
    assert (rowwise - plain).abs().max() > 1e-4  # rows that were not in a batch are updated later
    ours.catch_up()
    assert torch.allclose(rowwise, plain, atol=2e-6)
    for key in ("exp_avg", "exp_avg_sq"):
        assert torch.allclose(ours.state[rowwise][key], theirs.state[plain][key], atol=1e-6)


@pytest.mark.parametrize("count", [3, 60, 400])
def test_skipped_steps_are_replayed_without_numba_as_with_it(monkeypatch, count):
    start = torch.randn(ROWS, HIDDEN)
    tables = [nn.Parameter(start.clone()) for _ in range(2)]
    optimizers = [RowwiseAdamW(groups(table), 1e-2) for table in tables]
    for rate, rows, gradients in steps(count):
        for table, optimizer in zip(tables, optimizers, strict=True):
            take(optimizer, table, rate, sparse(rows, gradients), rows)
    optimizers[0].catch_up()
    before = tables[1].detach().clone()
    monkeypatch.setattr("mbert_cli.encoder.rowwise_adamw.why_not_fused", lambda device: "numba is missing")
    monkeypatch.setitem(sys.modules, "mbert_cli.encoder.kernels.adamw_loops", None)  # importing it fails
    optimizers[1].catch_up()
    assert (tables[1] - before).abs().max() > 1e-3
    assert torch.allclose(tables[0], tables[1], atol=2e-6)
    for key in ("exp_avg", "exp_avg_sq", "row_step"):
        assert torch.allclose(*(each.state[own][key] for each, own in zip(optimizers, tables, strict=True)), atol=1e-6)


def test_a_second_catch_up_changes_nothing():
    table = nn.Parameter(torch.randn(ROWS, HIDDEN))
    optimizer = RowwiseAdamW(groups(table), 1e-2)
    for rate, rows, gradients in steps(5):
        take(optimizer, table, rate, sparse(rows, gradients), rows)
    optimizer.catch_up()
    before = table.detach().clone()
    optimizer.catch_up()
    optimizer.catch_up(torch.arange(ROWS))
    assert torch.equal(table, before)


def test_dense_gradients_between_sparse_gradients_are_correct():
    start = torch.randn(ROWS, HIDDEN)
    rowwise, plain = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours, theirs = RowwiseAdamW(groups(rowwise), 1e-2), torch.optim.AdamW(groups(plain), 1e-2)
    for step, (rate, rows, gradients) in enumerate(steps(30)):
        gradient = dense(rows, gradients) if step % 7 == 3 else sparse(rows, gradients)
        take(ours, rowwise, rate, gradient, rows if gradient.is_sparse else None)
        theirs.param_groups[0]["lr"] = rate
        plain.grad = dense(rows, gradients)
        theirs.step()
    ours.catch_up()
    assert torch.allclose(rowwise, plain, atol=2e-6)


def test_a_table_takes_no_steps_while_it_is_frozen():
    start = torch.randn(ROWS, HIDDEN)
    rowwise, plain = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours, theirs = RowwiseAdamW(groups(rowwise), 1e-2), torch.optim.AdamW(groups(plain), 1e-2)
    for step, (rate, rows, gradients) in enumerate(steps(30)):
        frozen = 10 <= step < 20
        take(ours, rowwise, rate, None if frozen else sparse(rows, gradients), rows)
        theirs.param_groups[0]["lr"] = rate
        plain.grad = None if frozen else dense(rows, gradients)
        theirs.step()
        assert torch.allclose(rowwise[rows], plain[rows], atol=2e-6)


def test_state_can_be_loaded_into_another_optimizer_after_any_step():
    table = nn.Parameter(torch.randn(ROWS, HIDDEN))
    optimizer = RowwiseAdamW(groups(table), 1e-2)
    for step, (rate, rows, gradients) in enumerate(steps(40)):
        if step == 25:
            other = nn.Parameter(table.detach().clone())
            resumed = RowwiseAdamW(groups(other), 1e-2)
            resumed.state[other].update(copy.deepcopy(optimizer.state[table]))
        take(optimizer, table, rate, sparse(rows, gradients), rows)
        if step >= 25:
            take(resumed, other, rate, sparse(rows, gradients), rows)
    optimizer.catch_up()
    resumed.catch_up()
    assert torch.equal(table, other)


def test_only_updated_parameters_have_a_new_version():
    """Cached copies of a weight are updated if its version has changed; those of frozen weights are not."""
    moved, frozen, table = (nn.Parameter(torch.randn(ROWS, HIDDEN)) for _ in range(3))
    optimizer = RowwiseAdamW(groups(moved, frozen, table), 1e-2)
    versions = [each._version for each in (moved, frozen, table)]
    moved.grad = torch.randn(ROWS, HIDDEN)
    table.grad = sparse(torch.tensor([3]), torch.randn(1, HIDDEN))
    optimizer.step()
    assert moved._version > versions[0]
    assert frozen._version == versions[1]
    assert table._version > versions[2]


def test_clipping_counts_sparse_and_dense_gradients():
    weight, table = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(ROWS, HIDDEN))
    rows, values = torch.tensor([3, 7]), torch.randn(2, HIDDEN)
    weight.grad, table.grad = torch.randn(3, 4), sparse(rows, values.clone())
    expected = [weight.grad.clone(), dense(rows, values)]
    norm = torch.cat([each.flatten() for each in expected]).norm()
    Clipping([weight, table, nn.Parameter(torch.zeros(1))], 0.5 * float(norm)).scale()
    assert torch.allclose(weight.grad, 0.5 * expected[0], atol=1e-6)
    assert torch.allclose(table.grad.to_dense(), 0.5 * expected[1], atol=1e-6)
    table.grad = sparse(rows, values) + sparse(rows, values)
    Clipping([table], float(values.norm())).scale()
    assert torch.allclose(table.grad.to_dense(), dense(rows, values), atol=1e-6)
    Clipping([weight], 2 * float(norm)).scale()
    assert torch.allclose(weight.grad, 0.5 * expected[0], atol=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_learning_rates_decay_as_with_the_schedules_of_transformers(schedule):
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler(schedule, optimizer, num_warmup_steps=3, num_training_steps=20)
    training = TrainingSection(schedule=schedule, warmup=0.15)
    for step in range(20):
        expected = theirs.get_last_lr()[0]
        # The rate of the first step of theirs is 0, so that their warm-up is one step behind.
        assert learning_rate_factor(training, step, 20) == pytest.approx(expected if step >= 3 else (step + 1) / 3)
        optimizer.step()
        theirs.step()
