import pytest

from mbert_cli.data.columns import guess_columns
from mbert_cli.errors import UsageError

LONG = [f"some words of row {i} and a few more" for i in range(40)]
OTHER = [f"another sentence, the {i}th of its kind" for i in range(40)]
ABC = ["good", "bad", "so-so", "bad"] * 10


def guess(columns, text=(), label=None):
    return guess_columns("f.tsv", list(columns), zip(*columns.values(), strict=True), text, label)


def test_a_text_and_its_named_classes():
    found = guess({"id": [str(i) for i in range(40)], "review": LONG, "sentiment": ABC})
    assert (found.text, found.label, found.id, found.is_pair) == (["review"], "sentiment", "id", False)
    assert (found.labels, found.classes, found.certain) == ("classes", ["bad", "good", "so-so"], True)


def test_a_label_without_a_telling_name_is_the_last_column_of_few_values():
    found = guess({"a": ABC, "b": LONG, "c": ABC[::-1]})
    assert (found.text, found.label, found.certain) == (["b"], "c", False)


@pytest.mark.parametrize(
    ("first", "second"),
    [("sentence1", "sentence2"), ("text_a", "text_b"), ("q_first", "q_second"), ("premise", "hypothesis")],
)
def test_pairs_are_known_by_their_names(first, second):
    found = guess({first: LONG, "note": LONG, second: OTHER, "same": ["0", "1"] * 20})
    assert found.text == [first, second]
    assert found.is_pair
    assert found.classes == ["0", "1"]


def test_a_title_and_a_body_are_two_texts_but_no_pair_of_a_kind():
    found = guess({"title": LONG, "body": [each * 4 for each in LONG], "topic": ABC})
    assert (found.text, found.is_pair) == (["title", "body"], False)


@pytest.mark.parametrize(
    ("values", "labels", "classes", "scale"),
    [
        (["0", "4.8", "2.4", "1"], "numbers", [], 5.0),
        (["0", "0.25", "0.5", "0.9"], "numbers", [], 1.0),
        ([str(i) for i in range(40)], "numbers", [], 39.0),
        (["1.0", "5", "3", "3.0"], "classes", ["1", "3", "5"], 5.0),
        (["1", "0", "1.0", "0.0"], "classes", ["0", "1"], 1.0),
        (["nan", "inf", "nan", "inf"], "classes", ["inf", "nan"], 0.0),
    ],
)
def test_labels_are_classes_or_numbers_on_a_scale(values, labels, classes, scale):
    found = guess({"text": LONG, "label": (values * 40)[:40]})
    assert (found.labels, found.classes, found.scale) == (labels, classes, scale)


def test_what_is_said_is_not_guessed():
    found = guess({"note": LONG, "text": OTHER, "label": ABC, "b": ["x", "y"] * 20}, ["note"], "b")
    assert (found.text, found.label, found.classes, found.certain) == (["note"], "b", ["x", "y"], True)


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"text": LONG, "label": ABC}, {"label": "lable"}, "has no column 'lable'; did you mean 'label'?"),
        ({"text": LONG, "label": ABC}, {"text": ["txt"]}, "has no column 'txt'; did you mean 'text'?"),
        ({"text": LONG}, {}, "no column looks like labels; name it with --label. Known: text."),
        ({"n": ["1", "2"] * 20, "label": ABC}, {}, "no column looks like texts; name it with --text, twice for pairs."),
        ({"text": LONG, "label": ["a"] * 40}, {}, "label holds one value only"),
        ({"text": LONG * 4, "label": [f"c{i}" for i in range(160)]}, {}, "label holds 160 different values, too many"),
        ({"text": LONG, "score": ["-0.5", "0.5"] * 20}, {}, "score has values below 0"),
        ({"text": [], "label": []}, {}, "holds no rows below its header"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(columns, options, said):
    with pytest.raises(UsageError) as refusal:
        guess(columns, **options)
    assert said in str(refusal.value)
    assert str(refusal.value).startswith("f.tsv: ")
