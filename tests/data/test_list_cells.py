import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbert_cli.data.label_sets import LabelSets
from mbert_cli.data.list_cells import are_lists, listed, parts_of


@given(st.lists(st.text(min_size=1).filter(lambda text: text == text.strip())))
def test_json_and_python_lists_of_texts_are_read(names):
    assert listed(json.dumps(names)) == names
    assert listed(json.dumps(names, ensure_ascii=False)) == names
    assert listed(repr(names)) == names


@pytest.mark.parametrize(
    "cell",
    ["", "joy", "[joy]", "['joy' 'anger']", "['joy', ['anger']]", '[{"a": 1}]', "[true]", "['joy", "[1 2]", "[f()]"],
)
def test_other_cells_are_not_lists(cell):
    """NumPy prints an array as `['joy' 'anger']`, which Python would read as one text."""
    assert listed(cell) is None


@pytest.mark.parametrize("start", ["[", "['a'", "['a',"])
def test_a_long_cell_of_spaces_is_not_a_list(start):
    """With an expression that can match a space in two places, this takes minutes."""
    assert listed(f"{start}{' ' * 200_000}x]") is None


def test_numbers_keep_their_text_and_spaces_have_no_meaning():
    assert listed("[3, 14]") == ["3", "14"]
    assert listed(' ["3", " 14 ", ""] ') == ["3", "14"]


def test_a_cell_is_split_at_the_delimiter_unless_it_is_a_list():
    assert parts_of("joy; anger;", ";") == ["joy", "anger"]
    assert parts_of('["joy; anger"]', ";") == ["joy; anger"]


def test_cells_are_lists_if_all_are_and_one_is_not_empty():
    assert are_lists(["[]", "['joy']"])
    assert not are_lists(["[]"])
    assert not are_lists(["['joy']", "joy"])


def test_a_list_is_a_set_of_labels_and_a_label_may_look_like_a_list():
    labels = LabelSets(["joy", "anger", "[1]"], ",")
    assert labels.parse('["anger", "joy"]') == (1.0, 1.0, 0.0)
    assert labels.parse("[1]") == (0.0, 0.0, 1.0)
    assert labels.parse("[]") == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="contains 'rage'"):
        labels.parse("['rage']")
