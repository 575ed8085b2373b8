import pytest
import yaml

from mbert_cli.authoring.column import Column
from mbert_cli.authoring.guess_labels import read_labels, why_impossible, why_unlikely


def column(values, name="label"):
    found = Column(name)
    for value in values:
        found.count(value)
    return found


@pytest.mark.parametrize(
    ("values", "kind", "classes", "span"),
    [
        (["0", "4.8", "2.4", "1"], "numbers", [], (0, 5)),
        (["0", "0.25", "0.5", "0.9"], "numbers", [], (0, 1)),
        (["1", "4.5", "5", "3.25"], "numbers", [], (1, 5)),
        (["-0.5", "0.5", "0.25"], "numbers", [], (-1, 1)),
        (["0.01", "0.04", "0.03"], "numbers", [], (0, 0.05)),
        ([str(3 * i * i) for i in range(20)], "numbers", [], (0, 1083)),
        (["1.0", "5", "3", "3.0"], "classes", ["1", "3", "5"], None),
        (["1", "0", "1.0", "0.0"], "classes", ["0", "1"], None),
        (["-1", "1", "0"], "classes", ["-1", "0", "1"], None),
        (["nan", "inf"], "classes", ["inf", "nan"], None),
        (["1", "01", "2", "007"], "classes", ["007", "01", "1", "2"], None),
        (["100", "1E2", "3"], "classes", ["3", "100", "1E2"], None),
        (["10", "9", "N/A"], "classes", ["9", "10", "N/A"], None),
        (["caf\u00e9", "cafe\u0301", "tea"], "classes", ["caf\u00e9", "tea"], None),
        ([f"{i:02}" for i in range(40)], "classes", [f"{i:02}" for i in range(40)], None),
    ],
)
def test_labels_are_classes_or_numbers_on_a_scale(values, kind, classes, span):
    found = read_labels(column(values * 10))
    assert (found.kind, found.classes) == (kind, classes)
    assert span is None or (found.min, found.max) == span


@pytest.mark.parametrize(("name", "bounded"), [("price", False), ("rating", True)])
def test_large_numbers_have_no_limits_unless_the_name_means_a_scale(name, bounded):
    found = read_labels(column([str(17.5 * i * i) for i in range(20)], name))
    assert found.bounded is bounded
    assert ("if they have limits, write head: {kind: regression, min: 0, max: 6318}" in str(found.notes)) is not bounded


@pytest.mark.parametrize("count", [13, 20, 77, 500])
@pytest.mark.parametrize("first", [0, 1])
def test_whole_numbers_without_gaps_are_classes(count, first):
    numbers = [str(i + first) for i in range(count)]
    found = read_labels(column(numbers * 3))
    assert found.classes == numbers
    assert "whole numbers, read as classes; if they are a scale, write head: {kind: regression" in found.notes[0]


def test_whole_numbers_without_gaps_are_a_scale_if_the_name_suggests_one():
    found = read_labels(column([str(i) for i in range(101)] * 3, "score"))
    assert (found.kind, found.min, found.max) == ("numbers", 0, 100)
    assert (
        "whole numbers, read as a scale; if they are classes, write kind: classification, and list all 101"
        in found.notes[0]
    )


def test_a_few_cells_among_numbers_that_are_not_numbers_are_skipped():
    found = read_labels(column([f"{i / 10}" for i in range(50)] * 2 + ["N/A"] * 3))
    assert (found.kind, found.skipped, found.notes[0]) == ("numbers", ("N/A",), "not numbers, and skipped: N/A")


def test_other_unicode_forms_and_lists_get_a_remark():
    notes = read_labels(column(["cafe\u0301/tea", "tea", "caf\u00e9"])).notes
    assert notes[0].startswith("1 cell is in another Unicode form (NFD)")
    assert "'caf\u00e9/tea' looks like a list of labels; each such text is a separate class" in notes[1]


@pytest.mark.parametrize(
    ("values", "labels", "delimiter"),
    [
        (["rude,threat", "rude", "", "threat, rude"], ["rude", "threat"], ","),
        (["a|b", "b", "c|b|a"], ["a", "b", "c"], "|"),
        (["sport,golf", "sport,chess", "art,film"], None, ""),
        (["a/b", "b", "a"], None, ""),
    ],
)
def test_cells_that_list_labels_become_sets(values, labels, delimiter):
    found = read_labels(column(values * 5, "tags"))
    assert (found.delimiter, found.kind) == (delimiter, "sets" if delimiter else "classes")
    assert labels is None or found.classes == labels
    assert why_unlikely(column(values * 5, "tags")) is None or not delimiter


def test_a_given_column_may_have_thousands_of_classes_but_not_tens_of_thousands():
    assert why_impossible(column([f"c{i}" for i in range(1_500)] * 2)) is None
    assert "too many for classes" in why_impossible(column([f"c{i}" for i in range(20_001)]))


def test_a_column_whose_name_suggests_labels_may_have_more_than_a_hundred_classes():
    intents = [f"intent {i}" for i in range(150)] * 4
    assert why_unlikely(column(intents, "intent")) is None
    assert why_unlikely(column(intents, "kind of")) == "150 different values"


def test_the_advised_head_for_years_is_valid_yaml():
    found = read_labels(column([str(year) for year in range(2000, 2020)] * 3, "year"))
    head = yaml.safe_load(found.notes[0].partition("write ")[2])["head"]
    assert head == {"kind": "classification", "labels": [str(year) for year in range(2000, 2020)]}


def test_labels_that_differ_only_in_case_get_a_remark():
    assert (
        read_labels(column(["Negative", "negative", "good"] * 4))
        .notes[0]
        .startswith("'Negative' and 'negative' differ only in case, and each is a separate class")
    )


def test_all_spellings_that_differ_only_in_case_are_listed():
    notes = read_labels(column(["YES", "no", "Yes", "No", "yes", "so-so"] * 4)).notes
    assert notes[0].startswith("'No' and 'no'; 'YES' and 'Yes' and 'yes' differ only in case, and each is a separate")


@pytest.mark.parametrize(
    ("values", "remarked"),
    [(["-1", "0", "1", "2"], True), (["-1", "0", "1"], False), (["-1", "0", "1", "2", "-2"], False)],
)
def test_minus_one_looks_like_a_missing_label_among_the_numbers_of_classes(values, remarked):
    notes = read_labels(column(values * 5)).notes
    assert ("-1 (5 rows) looks like a missing value, but is a class" in str(notes)) is remarked
    assert ("add --missing -1" in str(notes)) is remarked


def test_the_separator_of_lists_is_described_only_if_the_cells_contain_it():
    assert "separated by" not in read_labels(column(['["rude", "sad"]', '["sad"]'] * 5)).line()
    assert "separated by ','" in read_labels(column(["rude,sad", "sad"] * 5)).line()
