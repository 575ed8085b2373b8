"""Folds: groups stay together, the order of rows does not matter, and stratified folds have equal shares."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbert_cli.data.folds import classes_of, hashed_folds, parts_of_numbers, read_fold, stratified_folds
from mbert_cli.errors import DataError, RecipeError
from mbert_cli.model.components import build_labels, load_recipe
from mbert_cli.training.checks import check_recipe

ROWS = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.integers(0, 3)), min_size=1, max_size=60)


def stratified(rows, folds, seed):
    return stratified_folds([key for key, _ in rows], [[label] for _, label in rows], folds, seed)


@given(ROWS, st.integers(2, 6), st.integers(0, 3), st.randoms())
def test_rows_of_a_group_stay_together_in_any_order(rows, folds, seed, random):
    mixed = random.sample(rows, len(rows))
    keys = [key for key, _ in rows]
    for numbers, others in (
        (stratified(rows, folds, seed), stratified(mixed, folds, seed)),
        (hashed_folds(keys, folds, seed), hashed_folds([key for key, _ in mixed], folds, seed)),
    ):
        fold_of = dict(zip(keys, numbers, strict=True))
        assert [fold_of[key] for key in keys] == numbers
        assert [fold_of[key] for key, _ in mixed] == others
        assert set(numbers) <= set(range(1, folds + 1))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(2, 6), st.integers(0, 3))
def test_stratified_folds_have_equal_shares_and_sizes(labels, folds, seed):
    numbers = stratified([(str(row), label) for row, label in enumerate(labels)], folds, seed)
    for label in set(labels):
        counts = Counter(number for number, own in zip(numbers, labels, strict=True) if own == label)
        counts = [counts[number] for number in range(1, folds + 1)]
        assert max(counts) - min(counts) <= 1
    sizes = Counter(numbers)
    assert max(sizes.values()) - min(sizes[number] for number in range(1, folds + 1)) <= 1


def test_hashed_folds_do_not_depend_on_other_rows():
    keys = [f"id\0{number}" for number in range(1000)]
    numbers = hashed_folds(keys, 5, 1)
    assert hashed_folds(keys[500:], 5, 1) == numbers[500:]
    assert hashed_folds(keys, 5, 2) != numbers
    assert all(150 < count < 250 for count in Counter(numbers).values())


def test_numbers_are_stratified_in_ten_parts_and_sets_by_their_labels():
    assert parts_of_numbers([float(number) for number in range(20)]) == [[number // 2] for number in range(20)]
    assert parts_of_numbers([5.0, 1.0, 1.0, 1.0]) == [[7], [0], [0], [0]]
    assert classes_of([(1.0, 0.0, 1.0), (0.0, 0.0, 0.0), 2.0]) == [[0, 2, "all"], ["all"], [2.0]]


def fold_task(recipe, *settings, **fold):
    values = ", ".join(f"{key}: {value}" for key, value in {"number": 1, "of": 3, **fold}.items())
    text = f"tasks.mood.fold={{{values}}}"
    file = load_recipe(str(recipe), []).tasks["mood"].train
    return load_recipe(str(recipe), [text, f"tasks.mood.dev={file}", *settings])


def split(recipe, *settings, **fold):
    task = fold_task(recipe, *settings, **fold).tasks["mood"]
    return read_fold("mood", task, build_labels(task.head))


def test_each_row_is_in_one_fold(tiny_recipe):
    parts = [split(tiny_recipe, number=number) for number in (1, 2, 3)]
    lines = [line for part in parts for line in part["dev"].lines]
    assert sorted(lines) == list(range(2, 22))
    assert all(sorted([*part["train"].lines, *part["dev"].lines]) == sorted(lines) for part in parts)


def test_limit_divides_fewer_rows(tiny_recipe):
    parts = split(tiny_recipe, limit=9, stratify="true")
    assert (len(parts["train"]), len(parts["dev"])) == (6, 3)


def test_rows_with_the_same_value_of_the_group_are_in_the_same_fold(tiny_recipe):
    parts = split(tiny_recipe, group="mood", stratify="true")
    assert not {*parts["train"].labels} & {*parts["dev"].labels}


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ({"of": 30}, r"fold \d+ of 30 of task mood has no rows; the file has 20 distinct rows; choose fewer --folds\."),
        ({"of": 4, "group": "mood"}, r"has no rows; the file has 3 groups of mood; choose fewer --folds\."),
        ({"of": 19}, r"the file has 20 distinct rows; add --stratify, which fills all folds, or choose fewer --folds"),
        ({"of": 3, "limit": 2}, "the 2 rows of --limit have 2 distinct rows; raise --limit, which is 2, or choose few"),
        ({"group": "user"}, "has no column 'user', needed as group of task mood"),
    ],
)
def test_folds_without_rows_and_missing_columns_are_rejected(tiny_recipe, fold, message):
    with pytest.raises(DataError, match=message):
        split(tiny_recipe, **fold)


def test_a_fold_that_does_not_fit_is_rejected(tiny_recipe):
    with pytest.raises(RecipeError, match="tasks.mood.fold.number must be at most 3, the number of folds"):
        check_recipe(fold_task(tiny_recipe, number=4))
    with pytest.raises(RecipeError, match="tasks.mood.dev must be the same file as train"):
        check_recipe(load_recipe(str(tiny_recipe), ["tasks.mood.fold={number: 1, of: 3}"]))
    with pytest.raises(RecipeError, match="tasks.mood.fold.of"):
        fold_task(tiny_recipe, of=1)
