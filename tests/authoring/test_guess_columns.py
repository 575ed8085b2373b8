import pytest

from mbert_cli.authoring.column import Column, CountedFile
from mbert_cli.authoring.guess_columns import guess_columns
from mbert_cli.errors import UsageError

LONG = [f"some words of row {i} and a few more" for i in range(40)]
OTHER = [f"another sentence, the {i}th of its kind" for i in range(40)]
ABC = ["good", "bad", "so-so", "bad"] * 10


def counted(columns):
    found = [Column(name) for name in columns]
    for column in found:
        for cell in columns[column.name]:
            column.count(cell)
    return CountedFile("f.tsv", found, [])


def guess(columns, text=(), labels=()):
    return guess_columns(counted(columns), text, labels)


def test_columns_are_guessed_from_their_names():
    found = guess({"id": [str(i) for i in range(40)], "review": LONG, "sentiment": ABC})
    assert (found.text, found.labels, found.ids, found.is_pair) == (
        ["review"], {"sentiment": "guessed from its name"}, ["id"], False,
    )  # fmt: skip


def test_without_a_name_that_suggests_labels_the_last_column_of_few_values_is_chosen():
    found = guess({"a": ABC, "b": LONG, "c": ABC[::-1]})
    assert (found.text, found.labels, found.others) == (["b"], {"c": "guessed from its values"}, ["a"])


def test_ids_and_row_numbers_are_refused_as_labels_with_the_reason():
    found = guess(
        {
            "Quality": ["0", "1"] * 20,
            "#1 ID": [str(1097547 + 977 * i % 40 * 3) for i in range(40)],
            "weight": [str(3 * i) for i in range(40)],
            "#1 String": LONG,
            "#2 String": OTHER,
        }
    )
    assert (found.text, found.is_pair, list(found.labels)) == (["#1 String", "#2 String"], True, ["Quality"])
    assert found.refused == {
        "#1 ID": "its name suggests an id",
        "weight": "40 different whole numbers in 40 rows, like ids",
    }


@pytest.mark.parametrize("name", ["#2 ID", "pair_ID", "docId", "idx", "qid", "row"])
def test_a_column_whose_name_suggests_an_id_is_not_chosen_even_if_it_has_few_values(name):
    with pytest.raises(UsageError, match=f"'{name}' \\(its name suggests an id\\)"):
        guess({"text": LONG, name: ["1", "2"] * 20})


def test_a_label_id_is_chosen_if_it_has_few_values_and_no_other_name_is_clearer():
    assert list(guess({"text": LONG, "label_id": ["0", "1"] * 20, "k": ABC}).labels) == ["label_id"]
    assert list(guess({"text": LONG, "category_id": ["0", "1"] * 20, "category": ["a", "b"] * 20}).labels) == [
        "category"
    ]
    with pytest.raises(UsageError, match="40 different whole numbers in 40 rows, like ids"):
        guess({"text": LONG, "label_id": [str(7 * i) for i in range(40)]})


def test_other_columns_of_labels_are_listed():
    found = guess({"sentence_A": LONG, "sentence_B": OTHER, "score": ["1", "4.5"] * 20, "judgment": ABC})
    assert (list(found.labels), found.others) == (["score"], ["judgment"])
    both = guess({"text": LONG, "score": ["1", "4.5"] * 20, "judgment": ABC}, labels=["judgment", "score"])
    assert (both.labels, both.others) == ({"judgment": "given", "score": "given"}, [])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sentence1", "sentence2"), ("text_a", "text_b"), ("q_first", "q_second"), ("premise", "hypothesis"),
        ("#1 String", "#2 String"), ("sentence_A", "sentence_B"), ("question1", "question2"), ("textA", "textB"),
        ("s1 text", "s2 text"), ("query", "passage"), ("Sentence 1", "Sentence 2"),
    ],
)  # fmt: skip
def test_pairs_are_recognised_by_their_names(first, second):
    found = guess({first: LONG, "note": LONG, second: OTHER, "same": ["0", "1"] * 20})
    assert found.text == [first, second]
    assert found.is_pair


def test_a_title_and_a_body_are_two_texts_but_not_a_pair():
    found = guess({"title": LONG, "body": [each * 4 for each in LONG], "topic": ABC})
    assert (found.text, found.is_pair) == (["title", "body"], False)


def test_given_columns_are_not_guessed():
    found = guess({"note": LONG, "text": OTHER, "label": ABC, "b": ["x", "y"] * 20}, ["note"], ["b"])
    assert (found.text, found.labels, found.others) == (["note"], {"b": "given"}, ["label"])


def test_a_given_column_that_does_not_look_like_labels_is_used_with_a_doubt():
    found = guess({"text": LONG, "kind": [f"k{i}" for i in range(40)]}, labels=["kind"])
    assert found.labels == {"kind": "given, but it does not look like labels: 40 different values in 40 rows"}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text": LONG, "label": ABC}, {"labels": ["lable"]}, "has no column 'lable'; did you mean 'label'?"),
        (
            {"text": LONG, "label": ABC},
            {"text": ["text"] * 2},
            "--text text is given twice; name two different columns.",
        ),
        (
            {"text": LONG, "label": ABC},
            {"text": ["text", "a", "b"]},
            "--text is given 3 times, but a task reads one text",
        ),
        (
            {"id": [str(i) for i in range(40)], "message": LONG, "label": ABC},
            {"labels": ["message"]},
            "'message' is the only column that looks like texts, so it cannot be the label; choose another column with",
        ),
        ({"text": LONG, "label": ABC}, {"text": ["txt"]}, "has no column 'txt'; did you mean 'text'?"),
        ({"text": LONG}, {}, "no column looks like labels; name it with --label. Known: 'text' (texts of 9 words)."),
        (
            {"n": ["1", "2"] * 20, "label": ABC},
            {},
            "no column looks like texts: the cells are too short; add --text n.",
        ),
        (
            {"text": ["a", "b"], "lang": ["x", "x"]},
            {},
            "'text' (its name suggests a text), 'lang' (contains one value only)",
        ),
        ({"text": LONG, "label": ["a"] * 40}, {}, "'label' (contains one value only)"),
        ({"text": LONG * 4, "kind": [f"c{i % 110}" for i in range(320)]}, {}, "'kind' (110 different values)"),
        ({"text": LONG, "label": [str(i) for i in range(40)]}, {}, "'label' (40 different whole numbers in 40 rows"),
        (
            {"text": LONG, "score": ["3,7", "2,5"] * 20},
            {},
            "f.tsv: 'score' contains numbers with a comma, such as '3,7': write 3.7; in a list of numbers, separate "
            "them by |, or name another column with --label. Known: 'text' (texts of 9 words).",
        ),
        (
            {"text": LONG, "n": ["1,250", "2"] * 20},
            {"labels": ["n"]},
            "n contains numbers with a comma, such as '1,250': write 1.250 or 1250; in a list of numbers, separate ",
        ),
        (
            {"text": LONG, "label": ["a\tb", "c"] * 20},
            {},
            "contains 'a\\tb', which has line ends or control characters",
        ),
        (
            {"text": LONG, "score": ["10%", "2.5 %"] * 20},
            {},
            "'score' contains percentages, such as '10%': write 10, or name another column with --label. Known:",
        ),
        ({"text": LONG, "day": ["2024-03-01", "2024-03-02"] * 20}, {}, "'day' (dates)"),
        (
            {"x": ["a", "b"], "y": ["p", "q"], "label": ["0", "1"]},
            {},
            "2 rows are too few to guess from; add --text x or --text y",
        ),
        ({"text": [], "label": []}, {}, "contains no rows below its header"),
    ],
)
def test_the_message_names_the_option_for_what_cannot_be_guessed(columns, options, message):
    with pytest.raises(UsageError) as refusal:
        guess(columns, **options)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("f.tsv: ")


@pytest.mark.parametrize(
    ("name", "why"), [("", "it has no name in the header"), ("k", "its name is in the header more")]
)
def test_a_column_without_a_unique_name_is_refused_as_labels(name, why):
    columns = counted({"text": LONG, "label": ABC})
    columns.columns[1].name, columns.columns[1].is_distinct = name, False
    with pytest.raises(UsageError, match=rf"'{name}' \({why}"):
        guess_columns(columns)


def test_ids_are_recognised_even_if_not_all_values_are_counted(monkeypatch):
    monkeypatch.setattr("mbert_cli.authoring.column._MOST_COUNTED", 10)
    rows = [str(7 * i) for i in range(40)]
    found = guess({"key": rows, "weight": rows, "text": LONG, "kind": ABC})
    assert (found.ids, list(found.labels)) == (["key"], ["kind"])
    assert found.refused["weight"] == "40 different whole numbers in 40 rows, like ids"


def test_names_of_splits_are_refused_as_labels_and_names_of_persons_are_not_a_second_text():
    found = guess({"by": ["Jo Doe", "Al Roe"] * 20, "body": LONG, "kind": ABC, "set": ["TRAIN", "TEST"] * 20})
    assert (found.text, list(found.labels)) == (["body"], ["kind"])
    assert found.refused["set"].startswith("names of splits; rows of all splits are used")


def test_a_pair_of_texts_is_preferred_to_a_pair_of_their_parse_trees():
    """The columns of MNLI are in this order."""
    found = guess({"sentence1_parse": LONG, "sentence2_parse": OTHER, "sentence1": LONG, "sentence2": OTHER, "y": ABC})
    assert (found.text, found.is_pair) == (["sentence1", "sentence2"], True)
    assert found.spare == ["sentence1_parse", "sentence2_parse"]
    assert found.refused == {}


def test_columns_of_texts_that_no_task_reads_are_listed():
    found = guess({"question": LONG, "answer": OTHER, "context": LONG, "lang": ["en"] * 40, "label": ABC})
    assert (found.text, found.spare) == (["question", "answer"], ["context"])
    assert found.refused == {"lang": "contains one value only"}
