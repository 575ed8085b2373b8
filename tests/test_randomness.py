from collections import Counter

import pytest

from mbert_cli.randomness import derive, permutation

MASK = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """Splitmix64 (Steele, Lea & Flood 2014) with Python's unbounded integers."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_reference_implementation_is_splitmix64():
    # The first output of Vigna's splitmix64.c for the state 0.
    assert splitmix64(0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("size", [0, 1, 2, 17, 1000])
def test_permutation_contains_each_row_once(size):
    assert sorted(permutation(size, 7, "rows").tolist()) == list(range(size))


def test_permutation_orders_rows_by_the_splitmix64_sequence_of_its_key():
    key = derive(11711, "rows", 3, "sst")
    hashes = [splitmix64((key + index * 0x9E3779B97F4A7C15) & MASK) for index in range(500)]
    assert permutation(500, 11711, "rows", 3, "sst").tolist() == sorted(range(500), key=hashes.__getitem__)


def test_permutation_is_a_function_of_its_arguments():
    first = permutation(100, 1, "rows", 2, "sst").tolist()
    permutation(50, 9, "rows")
    assert permutation(100, 1, "rows", 2, "sst").tolist() == first


@pytest.mark.parametrize("other", [(2, "rows", 1, "sst"), (1, "rows", 2, "sst"), (1, "rows", 1, "sts")])
def test_seeds_epochs_and_tasks_are_shuffled_differently(other):
    assert permutation(100, 1, "rows", 1, "sst").tolist() != permutation(100, *other).tolist()


@pytest.mark.parametrize(("one", "two"), [(("ab", "c"), ("a", "bc")), ((1, 23), (12, 3)), ((), ("",))])
def test_different_splits_into_parts_give_different_seeds(one, two):
    assert derive(5, *one) != derive(5, *two)


def test_derived_seeds_fit_every_generator():
    seeds = [derive(seed, "dropout", step) for seed in (0, 11711, 2**63 - 1) for step in range(100)]
    assert len(set(seeds)) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_every_order_of_four_rows_is_about_equally_likely():
    count = 4800
    orders = Counter(tuple(permutation(4, 3, "rows", epoch).tolist()) for epoch in range(count))
    expected = count / 24
    # Chi-squared with 23 degrees of freedom: 49.7 is its 99.9 % quantile.
    assert len(orders) == 24
    assert sum((seen - expected) ** 2 / expected for seen in orders.values()) < 49.7


def test_every_row_is_about_equally_likely_to_come_first():
    firsts = Counter(int(permutation(10, seed, "rows")[0]) for seed in range(2000))
    # Chi-squared with 9 degrees of freedom: 27.9 is its 99.9 % quantile.
    assert sum((firsts[row] - 200) ** 2 / 200 for row in range(10)) < 27.9
