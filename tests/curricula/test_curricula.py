from collections import Counter

import numpy as np
import pytest

from mbert_cli.curricula import Curriculum, Phase
from mbert_cli.curricula.hybrid import Hybrid
from mbert_cli.curricula.sequential import Sequential
from mbert_cli.curricula.simultaneous import Simultaneous, matched_rows

SIZES = {"sst": 10, "quora": 23, "sts": 7}


def steps(curriculum: Curriculum, epoch: int, sizes=SIZES, batch_size: int = 4, seed: int = 1) -> list[dict]:
    """Return all steps of an epoch: the rows of each task."""
    phases = curriculum.phases(epoch, sizes, batch_size)
    return [step for phase in phases for step in phase.batches(sizes, batch_size, seed, epoch)]


def rows(found: list[dict], task: str) -> list[int]:
    """Return the rows of a task, in the order in which they are read."""
    return [int(row) for step in found if task in step for row in step[task]]


def scopes(curriculum: Curriculum, epoch: int) -> list[str]:
    return [phase.trains for phase in curriculum.phases(epoch, SIZES, 4)]


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_hybrid_is_sequential_with_task_specific_parameters_in_odd_epochs_and_simultaneous_in_even_ones(epoch):
    found = steps(Hybrid(4), epoch)
    if epoch % 2:
        assert scopes(Hybrid(4), epoch) == ["own", "own", "own"]
        assert [list(step) for step in found] == [["sst"]] * 3 + [["quora"]] * 6 + [["sts"]] * 2
    else:
        assert scopes(Hybrid(4), epoch) == ["everything"]
        assert [list(step) for step in found] == [["sst", "quora", "sts"]] * 3


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_sequential_takes_each_row_of_each_task_once(epoch):
    found = steps(Sequential(4), epoch)
    assert [list(step) for step in found] == [["sst"]] * 3 + [["quora"]] * 6 + [["sts"]] * 2
    for task, size in SIZES.items():
        assert sorted(rows(found, task)) == list(range(size))


def test_sequential_freezes_nothing_unless_asked():
    assert scopes(Sequential(4), 1) == ["everything"] * 3
    assert scopes(Sequential(4, freeze=True), 1) == ["own"] * 3


def test_simultaneous_trains_everything_in_every_epoch():
    assert scopes(Simultaneous(4), 1) == scopes(Simultaneous(4), 2) == ["everything"]


@pytest.mark.parametrize(("match", "expected"), [("second_largest", 10), ("smallest", 7), ("largest", 23)])
def test_all_tasks_are_matched_to_the_selected_one(match, expected):
    assert matched_rows(SIZES, match) == expected
    for epoch in (1, 2):
        found = steps(Simultaneous(4, match=match), epoch)
        assert {task: len(rows(found, task)) for task in SIZES} == dict.fromkeys(SIZES, expected)
    assert len(rows(steps(Hybrid(4, match=match), 2), "sst")) == expected


def test_the_papers_tasks_are_matched_to_the_second_largest():
    assert matched_rows({"sst": 8544, "quora": 44459, "sts": 6040}, "second_largest") == 8544


@pytest.mark.parametrize("match", ["second_largest", "smallest", "largest"])
@pytest.mark.parametrize("sizes", [{"a": 5}, {"a": 5, "b": 5}, {"a": 5, "b": 5, "c": 5}])
def test_tasks_of_equal_sizes_and_one_task_alone_see_each_row_once(match, sizes):
    found = steps(Simultaneous(4, match=match), 2, sizes)
    for task in sizes:
        assert sorted(rows(found, task)) == [0, 1, 2, 3, 4]


def test_the_largest_task_is_sampled_without_replacement():
    for epoch in range(1, 20):
        seen = rows(steps(Simultaneous(4), epoch), "quora")
        assert len(seen) == len(set(seen)) == 10


@pytest.mark.parametrize(("match", "turns"), [("second_largest", (1, 2)), ("largest", (3, 4))])
def test_smaller_tasks_are_repeated_evenly(match, turns):
    seen = Counter(rows(steps(Simultaneous(4, match=match), 1), "sts"))
    assert set(seen) == set(range(7))
    assert set(seen.values()) == set(turns)


def test_each_pass_over_a_small_task_is_complete_and_has_a_new_order():
    seen = rows(steps(Simultaneous(4, match="largest"), 1), "sts")
    passes = [seen[:7], seen[7:14], seen[14:21]]
    assert all(sorted(each) == list(range(7)) for each in passes)
    assert passes[0] != passes[1] != passes[2]


@pytest.mark.parametrize("curriculum", [Hybrid(4), Simultaneous(4), Sequential(4)])
def test_the_same_seed_repeats_an_epoch(curriculum):
    assert str(steps(curriculum, 2)) == str(steps(curriculum, 2))


@pytest.mark.parametrize("other", [{"epoch": 4, "seed": 1}, {"epoch": 2, "seed": 2}])
def test_other_epochs_and_seeds_sample_other_rows_in_another_order(other):
    sizes = {"a": 40, "b": 200}
    first, second = steps(Simultaneous(4), 2, sizes), steps(Simultaneous(4), sizes=sizes, **other)
    assert rows(first, "a") != rows(second, "a")
    assert set(rows(first, "b")) != set(rows(second, "b"))


def test_tasks_of_the_same_size_are_shuffled_differently():
    found = steps(Simultaneous(4), 1, {"a": 30, "b": 30})
    assert rows(found, "a") != rows(found, "b")


def test_over_many_epochs_every_row_of_the_largest_task_is_seen():
    seen = {row for epoch in range(1, 30) for row in rows(steps(Simultaneous(4), epoch), "quora")}
    assert seen == set(range(23))


@pytest.mark.parametrize(("size", "batches"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (11, [4, 4, 3])])
@pytest.mark.parametrize("curriculum", [Sequential(4), Simultaneous(4), Hybrid(4)])
def test_the_last_batch_has_the_remaining_rows(curriculum, size, batches):
    for epoch in (1, 2):
        assert [len(step["a"]) for step in steps(curriculum, epoch, {"a": size})] == batches


def test_every_task_has_rows_in_every_step_of_several_tasks():
    for sizes in ({"a": 1, "b": 9}, {"a": 8, "b": 3}, {"a": 13, "b": 13, "c": 1}):
        for match in ("second_largest", "smallest", "largest"):
            assert all(len(own) for step in steps(Simultaneous(4, match=match), 2, sizes) for own in step.values())


def test_tasks_keep_the_order_of_the_recipe():
    sizes = {"z": 3, "a": 9, "m": 5}
    assert [list(step) for step in steps(Simultaneous(4), 2, sizes)] == [["z", "a", "m"]] * 2
    assert [next(iter(step)) for step in steps(Sequential(4), 1, sizes)] == ["z", "a", "a", "a", "m", "m"]


def test_a_phase_can_read_a_part_of_a_task():
    phase = Phase([("a",), ("a",)], {"a": 6}, "everything")
    first = [own["a"] for own in phase.batches({"a": 100}, 4, seed=1, epoch=1)]
    assert [len(own) for own in first] == [4, 2]
    again = [own["a"] for own in phase.batches({"a": 100}, 4, seed=1, epoch=1)]
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
