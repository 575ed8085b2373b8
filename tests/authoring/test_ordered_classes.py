from dataclasses import replace

import pytest

from mbert_cli.authoring.column import FileReading
from mbert_cli.authoring.guess_columns import Guess
from mbert_cli.authoring.guess_labels import GuessedLabels
from mbert_cli.authoring.ordered_classes import with_order
from mbert_cli.authoring.task_files import TaskFiles, head_for
from mbert_cli.errors import UsageError

STARS = GuessedLabels("stars", ["1", "2", "3"])
FILES = TaskFiles("r", {}, FileReading(), Guess(["text"], False, {}, [], {}, [], 5.0), {"r": STARS}, {}, ())


def test_named_columns_become_ordered():
    (files,) = with_order([FILES], ["stars"])
    assert head_for(files.tasks["r"], is_pair=False) == {"kind": "ordinal", "labels": ["1", "2", "3"]}
    assert files.tasks["r"].notes == ()
    assert with_order([FILES], []) == [FILES]


def test_the_order_of_words_is_left_to_the_user():
    words = replace(FILES, tasks={"r": GuessedLabels("stars", ["high", "low", "mid"])})
    (files,) = with_order([words], ["stars"])
    assert files.tasks["r"].notes == (
        "put the labels in order in the recipe, the lowest first; now they are high, low, mid",
    )


def test_another_column_is_rejected_with_the_nearest():
    with pytest.raises(UsageError, match=r"--ordered star: no task has the label 'star'; did you mean 'stars'\?"):
        with_order([FILES], ["star"])


@pytest.mark.parametrize(
    ("labels", "shown"),
    [(GuessedLabels("stars", ["0", "1"]), "2 classes: 0, 1"), (GuessedLabels("stars", [], 0.0, 5.0), "numbers")],
)
def test_two_classes_and_numbers_have_no_ordered_classes(labels, shown):
    with pytest.raises(UsageError, match=f"--ordered stars: the column must have at least 3 classes, but has {shown}"):
        with_order([replace(FILES, tasks={"r": labels})], ["stars"])
