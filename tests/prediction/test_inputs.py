from types import SimpleNamespace

import numpy as np
import pytest

from mbert_cli.errors import DataError
from mbert_cli.prediction.inputs import check_texts, sides_of
from mbert_cli.recipe.sections import Component, TaskSection


def task(*text, **others):
    return TaskSection(
        train="a", dev="b", text=list(text), label="y", head=Component(kind="classification"), columns=others
    )


class Frame:
    """A data frame, as in pandas and polars: it has column names, and returns columns by name."""

    def __init__(self, **columns):
        self._columns = columns
        self.columns = np.array(list(columns), dtype=object)

    def __getitem__(self, name):
        return np.array(self._columns[name], dtype=object)


@pytest.mark.parametrize(
    "given",
    [
        {"one": ["a", "b"], "two": ("c", "d"), "more": [1, 2]},
        [{"one": "a", "two": "c"}, {"two": "d", "one": "b", "more": 1}],
        Frame(one=["a", "b"], more=[1, 2], two=["c", "d"]),
    ],
)
def test_columns_rows_and_frames_give_the_same_texts(given):
    assert sides_of(given, "same", task("one", "two")) == [["a", "b"], ["c", "d"]]


def test_a_list_of_texts_needs_no_column_name():
    assert sides_of(["a", "b"], "mood", task("text")) == [["a", "b"]]
    assert sides_of([], "same", task("one", "two")) == [[], []]


def test_a_column_can_have_its_other_name():
    assert sides_of({"review": ["a"]}, "mood", task("text", text="review")) == [["a"]]


@pytest.mark.parametrize(
    ("given", "text", "message"),
    [
        ("a", ["text"], "task t: the input is one text, but must be a list of texts; write [text]."),
        ({"text": "a"}, ["text"], "task t: text is one text, but must be a list of texts; write [text]."),
        ({"txt": ["a"]}, ["text"], "there is no 'text'; did you mean 'txt'? Known: txt."),
        (["a"], ["one", "two"], "task t reads pairs: give the columns one and two by name, or rows that have both."),
        (
            {"one": ["a", "b"], "two": ["c"]},
            ["one", "two"],
            "one and two contain 2 and 1 texts; a pair takes one of each.",
        ),
        ([{"text": "a"}, {"txt": "b"}], ["text"], "task t: row 1 has no 'text', which row 0 has."),
        ([{"text": "a"}, "b"], ["text"], "task t: row 1 has no 'text', which row 0 has."),
        (["a", None], ["text"], "task t: row 1: text must be a text, but is None."),
        ({"text": ["a", float("nan")]}, ["text"], "task t: row 1: text must be a text, but is nan."),
        (None, ["text"], "task t: the input must be a list of texts, but is None."),
        (7, ["text"], "task t: the input must be a list of texts, but is 7."),
        (b"a", ["text"], "task t: the input is one text, but must be a list of texts; write [text]."),
        ([b"a"], ["text"], "task t: row 0: text must be a text, but is b'a'."),
        ({"text": None}, ["text"], "task t: text must be a list of texts, but is None."),
        ({"text": 1.5}, ["text"], "task t: text must be a list of texts, but is 1.5."),
        (
            ["a", "\ud83d b"],
            ["text"],
            "task t: row 1: text contains half of a surrogate pair, which is not a character: '\\ud83d b'",
        ),
    ],
)
def test_problems_are_reported_with_their_row(given, text, message):
    with pytest.raises(DataError) as refusal:
        check_texts(sides_of(given, "t", task(*text)), text, "t")
    assert message in str(refusal.value)


def test_an_object_with_columns_but_without_items_is_no_frame():
    with pytest.raises(DataError, match="the input must be a list of texts, but is namespace"):
        sides_of(SimpleNamespace(columns=["text"]), "t", task("text"))
