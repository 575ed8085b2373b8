from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbert_cli.curricula import Sampling, apportion, sampling_shares
from mbert_cli.curricula.annealed import Annealed
from mbert_cli.curricula.proportional import Proportional
from mbert_cli.curricula.round_robin import RoundRobin
from mbert_cli.curricula.simultaneous import Simultaneous
from mbert_cli.curricula.square_root import SquareRoot
from mbert_cli.curricula.temperature import Temperature
from mbert_cli.model.components import load_recipe

PAPER = {"sst": 8544, "quora": 141_498, "sts": 6040}
SIZES = {"sst": 10, "quora": 23, "sts": 7}
SAMPLING = [Proportional, SquareRoot, Annealed, Temperature]


def epoch_of(curriculum, sizes=SIZES, batch_size=4, epoch=1, seed=1) -> list[tuple[str, list[int]]]:
    """Return the steps of an epoch: the task of each step and its rows."""
    (phase,) = curriculum.phases(epoch, sizes, batch_size)
    assert phase.trains == "everything"
    found = []
    for step in phase.batches(sizes, batch_size, seed, epoch):
        ((task, rows),) = step.items()
        found.append((task, rows.tolist()))
    assert len(found) == len(phase.steps)
    return found


def rows_of(found, task) -> list[int]:
    return [row for name, rows in found if name == task for row in rows]


def steps_of(found) -> dict[str, int]:
    return dict(Counter(task for task, _ in found))


class Fixed(Sampling):
    """Sampling with any exponent."""

    def __init__(self, alpha: float, steps: int | None = None) -> None:
        super().__init__(1, steps=steps)
        self.exponent = alpha

    def alpha(self, epoch: int) -> float:
        return self.exponent


def test_the_papers_tasks_have_the_published_shares_at_the_end_of_annealing():
    """8544^.2 = 6.114, 141498^.2 = 10.719, 6040^.2 = 5.704; their sum is 22.537."""
    shares = sampling_shares(PAPER, Annealed(20).alpha(20))
    assert shares == pytest.approx({"sst": 0.271, "quora": 0.476, "sts": 0.253}, abs=0.0005)


def test_alpha_falls_from_one_to_a_fifth():
    assert [Annealed(5).alpha(epoch) for epoch in range(1, 6)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert Annealed(2).alpha(2) == pytest.approx(0.2)
    assert Annealed(1).alpha(1) == 1
    assert {Proportional(5).alpha(epoch) for epoch in range(1, 6)} == {1}
    assert {SquareRoot(5).alpha(epoch) for epoch in range(1, 6)} == {0.5}


def test_temperature_is_between_proportional_and_square_root():
    """Cube roots 20.443, 52.110 and 18.212; their squares are 417.9, 2715.4 and 331.7, of 3465.0."""
    shares = sampling_shares(PAPER, Temperature(1, temperature=1.5).alpha(1))
    assert shares == pytest.approx({"sst": 0.1206, "quora": 0.7837, "sts": 0.0957}, abs=0.0001)
    for temperature, same in ((1.0, Proportional), (2.0, SquareRoot)):
        assert epoch_of(Temperature(1, temperature=temperature), PAPER, 32) == epoch_of(same(1), PAPER, 32)


def test_proportional_sees_each_row_exactly_once():
    for sizes in (SIZES, {"a": 1, "b": 100_000}, {"a": 33, "b": 3200}, {"a": 8, "b": 8, "c": 3}, {"a": 5}):
        found = epoch_of(Proportional(1), sizes, 32 if "b" in sizes else 4)
        for task, size in sizes.items():
            assert sorted(rows_of(found, task)) == list(range(size)), (sizes, task)


def test_the_papers_epoch_has_steps_according_to_the_shares():
    """At batch 32: 267 + 4422 + 189 = 4878 steps in total, 156082 / 32 = 4877.56 full batches.

    Square roots 92.43, 376.16, 77.72 of 546.31: 825.24, 3358.4, 693.8. The largest remainders, .87 and .40 (not .24),
    get one more step: 4876 + 2 = 4878.
    """
    assert steps_of(epoch_of(Proportional(1), PAPER, 32)) == {"sst": 267, "quora": 4422, "sts": 189}
    assert steps_of(epoch_of(SquareRoot(1), PAPER, 32)) == {"sst": 825, "quora": 3359, "sts": 694}


def test_the_number_of_steps_can_be_set():
    """Square roots of 100, 400, 2500 are 10, 20, 50: eighths 1, 2, 5."""
    found = epoch_of(SquareRoot(3, steps=16), {"a": 100, "b": 400, "c": 2500})
    assert steps_of(found) == {"a": 2, "b": 4, "c": 10}
    assert len(set(rows_of(found, "c"))) == 40


def test_annealing_moves_steps_to_the_small_tasks_and_keeps_their_sum():
    """At the end 4877.56 times .27129, .47561, .25311: 1323.2, 2319.8, 1234.5, the last two rounded up."""
    counts = [steps_of(epoch_of(Annealed(4), PAPER, 32, epoch)) for epoch in range(1, 5)]
    assert [sum(each.values()) for each in counts] == [4878] * 4
    assert [each["sts"] for each in counts] == sorted(each["sts"] for each in counts)
    assert counts[0] == {"sst": 267, "quora": 4422, "sts": 189}
    assert counts[3] == {"sst": 1323, "quora": 2320, "sts": 1235}


@pytest.mark.parametrize("kind", SAMPLING)
@pytest.mark.parametrize("sizes", [{"a": 1, "b": 100_000}, {"a": 1, "b": 1}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_even_the_smallest_task_gets_steps(kind, sizes):
    for epoch in (1, 2, 3):
        found = epoch_of(kind(3), sizes, 32, epoch)
        assert set(steps_of(found)) == set(sizes)
        assert all(rows for _, rows in found)


@pytest.mark.parametrize("kind", SAMPLING)
def test_the_order_of_steps_repeats_for_a_seed_and_differs_between_epochs_and_seeds(kind):
    sizes = {"a": 100, "b": 100}
    order = [task for task, _ in epoch_of(kind(3), sizes)]
    assert epoch_of(kind(3), sizes) == epoch_of(kind(3), sizes)
    assert order != sorted(order)
    for other in ({"epoch": 2}, {"seed": 2}):
        assert [task for task, _ in epoch_of(kind(3), sizes, **other)] != order
        assert rows_of(epoch_of(kind(3), sizes, **other), "a") != rows_of(epoch_of(kind(3), sizes), "a")


def test_a_smaller_last_batch_is_the_last_step_of_its_task():
    found = [rows for task, rows in epoch_of(Proportional(1)) if task == "quora"]
    assert [len(rows) for rows in found] == [4, 4, 4, 4, 4, 3]


@pytest.mark.parametrize(
    ("quotas", "total", "expected"),
    [
        ({"a": 1.5, "b": 2.25, "c": 2.25}, 6, [2, 2, 2]),  # the largest remainder
        ({"a": 2.5, "b": 2.5}, 5, [3, 2]),  # the first of equals
        ({"a": 0.2, "b": 9.8}, 10, [1, 9]),  # at least one
        ({"a": 0.1, "b": 0.1, "c": 9.8}, 10, [1, 1, 8]),
        ({"a": 0.1, "b": 4.4, "c": 5.5}, 10, [1, 4, 5]),  # the minimum and the floors sum to the total
        ({"a": 0.1, "b": 0.1, "c": 2.9, "d": 2.9}, 6, [1, 1, 2, 2]),
        ({"a": 1.0, "b": 1.0}, 9, [5, 4]),  # the total is above the quotas: several rounds
        ({"a": 0.5, "b": 0.5, "c": 1.0}, 2, [1, 1, 1]),  # fewer steps than tasks
    ],
)
def test_quotas_are_rounded_by_largest_remainder_to_at_least_one(quotas, total, expected):
    assert list(apportion(quotas, total).values()) == expected


a_size = st.one_of(st.integers(1, 40), st.integers(1, 3000))
some_sizes = st.lists(a_size, min_size=1, max_size=5).map(lambda sizes: {f"t{i}": n for i, n in enumerate(sizes)})


@given(some_sizes, st.integers(1, 64), st.floats(0, 1), st.none() | st.integers(1, 300))
def test_any_sizes_give_full_steps_the_right_total_and_every_row_evenly(sizes, batch_size, alpha, steps):
    found = epoch_of(Fixed(alpha, steps), sizes, batch_size)
    total = steps or sum(-(-size // batch_size) for size in sizes.values())
    assert len(found) == max(total, len(sizes))
    for task, size in sizes.items():
        own = [rows for name, rows in found if name == task]
        assert own
        assert all(len(rows) == batch_size for rows in own[:-1])
        assert 0 < len(own[-1]) <= batch_size
        seen = Counter(rows_of(found, task))
        turns, part = divmod(sum(seen.values()), size)
        assert set(seen.values()) <= {turns, turns + 1}
        assert len(seen) == size or turns == 0
        assert len(own[-1]) == batch_size or part == 0  # only a whole pass ends with a smaller batch


@given(some_sizes, st.integers(1, 64))
def test_proportional_is_one_pass_for_any_sizes(sizes, batch_size):
    found = epoch_of(Proportional(1), sizes, batch_size)
    for task, size in sizes.items():
        assert sorted(rows_of(found, task)) == list(range(size))


@given(some_sizes, st.floats(0, 1), st.integers(1, 5000))
def test_step_counts_are_within_one_of_each_tasks_quota(sizes, alpha, steps):
    quotas = {task: steps * share for task, share in sampling_shares(sizes, alpha).items()}
    counts = apportion(quotas, steps)
    assert sum(counts.values()) == max(steps, len(sizes))
    if min(quotas.values()) >= 1:
        assert all(abs(counts[task] - quotas[task]) < 1 for task in sizes)


@pytest.mark.parametrize("match", ["second_largest", "smallest", "largest"])
def test_round_robin_uses_the_same_batches_as_simultaneous_one_task_at_a_time(match):
    found = epoch_of(RoundRobin(2, match=match), epoch=2)
    assert [task for task, _ in found] == ["sst", "quora", "sts"] * (len(found) // 3)
    (phase,) = Simultaneous(2, match=match).phases(2, SIZES, 4)
    together = list(phase.batches(SIZES, 4, 1, 2))
    assert found == [(task, rows.tolist()) for step in together for task, rows in step.items()]


def test_round_robin_of_one_task_is_its_training_set():
    assert sorted(rows_of(epoch_of(RoundRobin(1), {"a": 9}), "a")) == list(range(9))


def test_a_recipe_can_set_steps(tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), ["curriculum={kind: annealed, steps: 7}"])
    assert recipe.curriculum.options == {"steps": 7}
