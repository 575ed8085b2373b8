import itertools

import numpy as np
import pytest

from mbert_cli.data.batching import TaskData, by_length, pack, tokenise
from mbert_cli.data.examples import Examples
from mbert_cli.data.tokenizer import Tokenizer, Tokens


def tokens(*texts: list[int], types: list[list[int]] | None = None) -> Tokens:
    flat_types = [t for each in types for t in each] if types else [0] * sum(map(len, texts))
    return Tokens(
        np.array([i for text in texts for i in text], dtype=np.int32),
        np.array(flat_types, dtype=np.uint8),
        np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64),
        [],
    )


def labels(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


SINGLE = TaskData((tokens([10], [11, 12, 13], [14, 15]),), labels(0, 1, 2))
PAIRS = TaskData((tokens([20, 21], [22]), tokens([30], [31, 32, 33])), labels(0.5, 4.5))


def rows(*indices: int) -> np.ndarray:
    return np.array(indices, dtype=np.int64)


def test_a_batch_has_the_tasks_in_order_and_in_a_task_all_first_then_all_second_sentences():
    batch = pack({"one": SINGLE, "two": PAIRS}, {"two": rows(1, 0), "one": rows(2, 1, 2)})
    assert batch.token_ids.tolist() == [22, 20, 21, 31, 32, 33, 30, 14, 15, 11, 12, 13, 14, 15]
    assert batch.positions.tolist() == [0, 0, 1, 0, 1, 2, 0, 0, 1, 0, 1, 2, 0, 1]
    assert batch.layout.lengths.tolist() == [1, 2, 3, 1, 2, 3, 2]
    assert batch.layout.segment_sentences == [4, 3]
    assert batch.layout.segment_tokens == [7, 7]
    assert batch.tasks == ("two", "one")
    assert batch.labels["two"].tolist() == [4.5, 0.5]
    assert batch.labels["one"].tolist() == [2, 1, 2]


def test_a_batch_has_the_type_of_each_token():
    data = TaskData((tokens([1, 2, 3], [4, 5], types=[[0, 1, 1], [0, 1]]),), labels(0, 1))
    assert pack({"a": data}, {"a": rows(1, 0)}).token_types.tolist() == [0, 1, 0, 1, 1]


def test_a_task_without_labels_has_none_in_the_batch():
    batch = pack({"a": TaskData(SINGLE.sides, None)}, {"a": rows(0)})
    assert dict(batch.labels) == {}


def test_a_task_may_have_no_rows_in_a_batch():
    batch = pack({"one": SINGLE, "two": PAIRS}, {"one": rows(), "two": rows(0)})
    assert batch.token_ids.tolist() == [20, 21, 30]
    assert batch.layout.segment_sentences == [0, 2]


@pytest.mark.parametrize("sides", [("first", "second"), ("whole",), ("first", "second", "whole")])
def test_random_batches_equal_plain_python(tiny_checkpoint, sides):
    words = "the a dog cat is fine red book".split()
    rng = np.random.default_rng(0)
    texts = [[" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(30)] for _ in range(2)]
    tokenizer = Tokenizer(tiny_checkpoint, 9)
    data = tokenise(tokenizer, Examples(texts, [float(i) for i in range(30)]), sides, False)
    chosen = rng.permutation(30)[:13]
    batch = pack({"t": data}, {"t": chosen})
    read = {
        "first": lambda i: ([texts[0][i]],),
        "second": lambda i: ([texts[1][i]],),
        "whole": lambda i: ([texts[0][i]], [texts[1][i]]),
    }
    expected = [tokenizer.encode(*read[side](i)).ids.tolist() for side in sides for i in chosen]
    assert batch.token_ids.tolist() == [i for ids in expected for i in ids]
    assert batch.positions.tolist() == [i for ids in expected for i in range(len(ids))]
    assert batch.layout.lengths.tolist() == [len(ids) for ids in expected]
    assert batch.labels["t"].tolist() == chosen.tolist()


def test_lengths_of_an_example_include_all_its_sentences():
    assert SINGLE.lengths.tolist() == [1, 3, 2]
    assert PAIRS.lengths.tolist() == [3, 4]
    assert len(PAIRS) == 2


@pytest.fixture(scope="module")
def ragged() -> TaskData:
    rng = np.random.default_rng(1)
    sides = tuple(tokens(*[[1] * rng.integers(1, 40) for _ in range(200)]) for _ in range(2))
    return TaskData(sides, None)


@pytest.mark.parametrize("budget", [1, 50, 100, 1000, 10**6])
@pytest.mark.parametrize("most_rows", [None, 1, 7])
def test_batches_by_length_cover_each_row_once_within_the_budget(ragged, budget, most_rows):
    lengths = ragged.sides[0].lengths + ragged.sides[1].lengths
    batches = [batch.tolist() for batch in by_length(ragged, budget, most_rows)]
    assert sorted(row for batch in batches for row in batch) == list(range(200))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[row] for row in batch) <= budget
        assert most_rows is None or len(batch) <= most_rows


def test_the_longest_examples_are_in_the_first_batch(ragged):
    seen = [int(ragged.lengths[row]) for batch in by_length(ragged, 300) for row in batch]
    assert seen == sorted(seen, reverse=True)


def test_the_budget_is_used(ragged):
    # No batch has room for the next row.
    batches = [ragged.lengths[batch] for batch in by_length(ragged, 300)]
    for batch, following in itertools.pairwise(batches):
        assert batch.sum() + following[0] > 300


def test_without_rows_there_are_no_batches():
    assert list(by_length(TaskData((tokens(),), None), 100)) == []


@pytest.mark.parametrize(
    "other",
    [
        TaskData((tokens([10], [11, 12, 13], [14, 16]),), labels(0, 1, 2)),
        TaskData((tokens([10, 11], [12, 13], [14, 15]),), labels(0, 1, 2)),
        TaskData((tokens([10], [11, 12, 13], [14, 15]),), labels(0, 1, 1)),
        TaskData((tokens([10], [11, 12, 13], [14, 15]),), None),
        TaskData((tokens([10], [11, 12, 13], [14, 15]),), labels(0, 1, 2), soft=labels(0, 1, 2)),
    ],
)
def test_different_tokens_or_labels_have_a_different_hash(other):
    same = TaskData((tokens([10], [11, 12, 13], [14, 15]),), labels(0, 1, 2))
    assert SINGLE.sha256() == same.sha256()
    assert SINGLE.sha256() != other.sha256()


def test_taken_examples_keep_their_soft_labels():
    data = TaskData(SINGLE.sides, SINGLE.labels, soft=np.array([[0.1, 0.9], [0.2, 0.8], [1.0, 0.0]], np.float32))
    some = data.take(rows(2, 0))
    assert np.array_equal(some.soft, data.soft[[2, 0]])
    batch = pack({"a": some, "b": PAIRS}, {"b": rows(1), "a": rows(1)})
    assert batch.soft["a"].tolist() == [pytest.approx([0.1, 0.9])]
    assert set(batch.soft) == {"a"}


def test_tokenised_labels_are_float32(tiny_checkpoint):
    data = tokenise(Tokenizer(tiny_checkpoint, 8), Examples([["the dog", "a"]], [0.1, 3.0]), ("whole",), False)
    assert data.labels.dtype == np.float32
    assert data.labels.tolist() == pytest.approx([0.1, 3.0])


@pytest.mark.parametrize(("budget", "sizes"), [(6, [3, 2]), (5, [2, 2, 1]), (2, [1] * 5), (1, [1] * 5), (10, [5])])
def test_a_batch_may_have_exactly_as_many_tokens_as_the_budget(budget, sizes):
    data = TaskData((tokens(*[[1, 2]] * 5),), None)
    assert [len(batch) for batch in by_length(data, budget)] == sizes
