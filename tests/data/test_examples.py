import pytest

from mbert_cli.data.bad_rows import BadRow
from mbert_cli.data.examples import Examples, read_examples
from mbert_cli.data.problem import Problem
from mbert_cli.errors import DataError
from mbert_cli.heads.classification import Classification
from mbert_cli.heads.cosine_similarity import CosineSimilarity
from mbert_cli.heads.pair_classification import PairClassification
from mbert_cli.recipe.sections import Component, TaskSection


def task(*text: str, label: str = "label", **settings) -> TaskSection:
    return TaskSection(
        train="", dev="", text=list(text), label=label, head=Component(kind="classification"), **settings
    )


@pytest.fixture
def write(tmp_path):
    def write(*rows: str, name: str = "t.tsv") -> str:
        path = tmp_path / name
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


def refusal(path: str, section: TaskSection, labels, **settings) -> str:
    """Return the message of the error, with F instead of the path."""
    with pytest.raises(DataError) as error:
        read_examples(path, "mood", section, labels, **settings)
    return str(error.value).replace(path, "F")


def test_texts_and_labels_are_read_by_column_name(write):
    path = write("x\tlabel\tb\ta", "0\t2\tsecond\tfirst", "1\t0.0\tzwei\teins")
    examples = read_examples(path, "t", task("a", "b"), Classification(4, num_classes=3).labels)
    assert examples.texts == [["first", "eins"], ["second", "zwei"]]
    assert examples.labels == [2, 0]
    assert examples.lines == [2, 3]
    assert examples.skipped == []
    assert len(examples) == 2


def test_spaces_around_texts_are_kept(write):
    examples = read_examples(write("a\tlabel", "  x \t1"), "t", task("a"), PairClassification(4).labels)
    assert examples.texts == [["  x "]]


@pytest.mark.parametrize(
    ("label", "head", "what"),
    [
        ("5", Classification(4, num_classes=5), "label must be one of 0, 1, 2, 3, 4, but is '5'"),
        ("nan", Classification(4, num_classes=5), "label must be one of 0, 1, 2, 3, 4, but is 'nan'"),
        ("meh", Classification(4, labels=["low", "high"]), "label must be one of low, high, but is 'meh'"),
        ("0.5", PairClassification(4), "label must be one of 0, 1, but is '0.5'"),
        ("6.0", CosineSimilarity(4), "label must be a number from 0 to 5, but is '6.0'"),
        ("", CosineSimilarity(4), "label is empty"),
        ("  ", PairClassification(4), "label is empty"),
    ],
)
def test_a_bad_label_is_reported_with_file_and_line(write, label, head, what):
    path = write(
        "a\tlabel",
        '"two',
        f'lines"\t{"high" if isinstance(head, Classification) and "high" in head.labels.names else 1}',
        f"y\t{label}",
    )
    message = refusal(path, task("a"), head.labels)
    assert message == f"F:4: {what}; correct the row, or set tasks.mood.on_bad_row=skip."


@pytest.mark.parametrize(("row", "column"), [("\tx\t1", "a"), ("x\t \t1", "b")])
def test_an_empty_text_is_reported(write, row, column):
    message = refusal(write("a\tb\tlabel", row), task("a", "b"), PairClassification(4).labels)
    assert message.startswith(f"F:2: {column} is empty")


def test_bad_rows_are_skipped_and_listed_if_the_task_asks_for_it(write):
    path = write("a\tlabel", "one\t1", "\t1", "three\tx", "four\t0", "five\t")
    examples = read_examples(path, "t", task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert (examples.texts, examples.labels, examples.lines) == ([["one", "four"]], [1, 0], [2, 5])
    assert list(map(str, examples.skipped)) == [
        "line 3: a is empty",
        "line 4: label must be one of 0, 1, but is 'x'",
        "line 6: label is empty",
    ]
    note = examples.skipped_note("t.tsv")
    assert note.startswith("t.tsv: skipped 3 bad rows: line 3: a is empty; line 4: ")
    assert note.endswith("line 6: label is empty")


def test_rows_with_the_same_problem_are_noted_once():
    skipped = [BadRow(number, Problem("a is empty")) for number in range(2, 35)]
    note = Examples([[]], skipped=[*skipped, BadRow(35, Problem("label is empty"))]).skipped_note("t.tsv")
    assert note == (
        "t.tsv: skipped 34 bad rows: a is empty, in 33 rows (lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...); "
        "line 35: label is empty"
    )


def test_a_note_lists_at_most_twenty_problems():
    skipped = [BadRow(number, Problem(f"label is {number}")) for number in range(2, 35)]
    note = Examples([[]], skipped=skipped).skipped_note("t.tsv")
    assert note.startswith("t.tsv: skipped 33 bad rows: line 2: label is 2; ")
    assert note.endswith("line 21: label is 21; and 13 more")


@pytest.mark.parametrize(
    ("more", "lines"),
    [
        (1, "1 more row has this problem (line 4)"),
        (3, "3 more rows have this problem (lines 4, 6, 8)"),
        (9, "9 more rows have this problem (lines 4, 6, 8, 10, 12, 14, 16, 18, 20)"),
        (58, "58 more rows have this problem (lines 4, 6, 8, 10, 12, 14, 16, 18, 20, ...)"),
    ],
)
def test_rows_of_another_encoding_are_listed_once_with_the_remedy(tmp_path, more, lines):
    path = tmp_path / "t.tsv"
    rows = [b"caf\xe9\t1", b"tea\t0"] * (more + 1) + [b"tea\t0"]
    path.write_bytes(b"a\tlabel\n" + b"\n".join(rows))
    problems = refusal(str(path), task("a"), PairClassification(4).labels).split("\n")
    assert problems == [
        f"F:2: is not UTF-8 (byte 11 of the file), and {lines}; "
        "convert it: `iconv -f CP1252 -t UTF-8 F > F.utf8`.".replace("F.utf8", str(path.with_name("t.utf8.tsv"))),
        f"F: has {more + 1} bad rows; correct them, or set tasks.mood.on_bad_row=skip.",
    ]


def test_the_columns_are_not_blamed_for_a_file_of_another_encoding(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"a\tlabel\n" + b"caf\xe9\t1\n" * 4 + b"tea\t0\n")
    assert refusal(str(path), task("a"), PairClassification(4).labels).endswith("\nF: 4 of 5 rows are bad.")


def test_each_remedy_for_quotes_is_printed_once(write):
    rows = ['"no" he said\t1', '"yes" he said\t0', "fine\t1", '"no" again\t1', '"open\t0', *["good\t1"] * 9]
    problems = refusal(write("a\tlabel", *rows), task("a"), PairClassification(4).labels).split("\n")
    text_quotes = "if quotes are plain text in this file, add --quoting none (in a recipe's task: quoting: none)"
    assert problems == [
        "F:2: text follows a closing quote, in 3 rows (lines 2, 3, 5); inside a quoted cell, write each quote twice; "
        f"{text_quotes}.",
        "F:6: a quote opens here and is never closed; close it.",
        "F: has 4 bad rows; correct them, or set tasks.mood.on_bad_row=skip.",
    ]


def test_values_outside_the_scale_are_listed_once(write):
    path = write("a\tlabel", *["good\t1"] * 9, "one\t6.1", "two\t3,7", "three\t-1")
    assert refusal(path, task("a"), CosineSimilarity(4).labels).split("\n") == [
        "F:11: label must be a number from 0 to 5, but is '6.1', and 2 more rows have this problem (lines 12, 13).",
        "F: has 3 bad rows; correct them, or set tasks.mood.on_bad_row=skip.",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"two", "has 1 column, but the header has 2"),
        (b"two\t1\t2", "has 3 columns, but the header has 2"),
        (b"t\xffo\t1", "is not UTF-8 (byte 15 of the file)"),
        (b"t\0o\t1", "contains a NUL byte"),
        (b"t\ro\t1", "a carriage return stands alone"),
        (b'"two" said\t1', "text follows a closing quote"),
        (b'"two\t1', "a quote opens here and is never closed"),
    ],
)
def test_only_the_unreadable_row_is_skipped(tmp_path, line, problem):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"a\tlabel\none\t1\n" + line + b"\nthree\t0\nfour\t1\n")
    examples = read_examples(str(path), "t", task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert (examples.texts, examples.labels, examples.lines) == ([["one", "three", "four"]], [1, 0, 1], [2, 4, 5])
    assert len(examples.skipped) == 1
    assert str(examples.skipped[0]).startswith(f"line 3: {problem}")


@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_unreadable_rows_are_also_skipped_if_quotes_are_text(write, quoting):
    path = write("a\tlabel", "one\t1", "two", "three\t0")
    examples = read_examples(path, "t", task("a", on_bad_row="skip", quoting=quoting), PairClassification(4).labels)
    assert (examples.lines, len(examples.skipped)) == ([2, 4], 1)


def test_an_unreadable_line_of_jsonl_is_skipped(tmp_path):
    path = tmp_path / "t.jsonl"
    lines = [b'{"a": "x", "label": 1}', b'{"a": "\xff", "label": 1}', b"{", b'{"a": "y"}', b'{"a": "z", "label": 0}']
    path.write_bytes(b"\n".join(lines))
    examples = read_examples(str(path), "t", task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert (examples.lines, [str(each).split(":")[0] for each in examples.skipped]) == (
        [1, 5],
        ["line 2", "line 3", "line 4"],
    )
    assert "line 4: no 'label'" in str(examples.skipped[2])


@pytest.mark.parametrize("name", ["t.jsonl", "t.txt"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [(b'{"a": "\xff", "label": 1}', "is not UTF-8 (byte 7 of the file)"), (b"\0", "contains a NUL byte")],
)
def test_a_first_line_of_jsonl_that_is_not_text_is_a_bad_row_like_any_other(tmp_path, name, line, problem):
    path = tmp_path / name
    path.write_bytes(line + b'\n{"a": "x", "label": 1}\n{"a": "y", "label": 0}\n')
    section = task("a", on_bad_row="skip")
    examples = read_examples(str(path), "t", section, PairClassification(4).labels)
    assert (examples.texts, examples.lines) == ([["x", "y"]], [2, 3])
    assert str(examples.skipped[0]).startswith(f"line 1: {problem}")
    assert refusal(str(path), task("a"), PairClassification(4).labels).startswith(f"F:1: {problem}")


@pytest.mark.parametrize("count", [1, 2000])
def test_jsonl_without_a_line_of_text_is_refused_at_its_first_line(tmp_path, count):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\xff\n" * count)
    message = refusal(str(path), task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert message.startswith("F:1: is not UTF-8 (byte 0 of the file)")


@pytest.mark.parametrize("name", ["t.tsv", "t.txt"])
def test_a_table_whose_first_line_is_not_text_has_no_header(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"a\xff\tlabel\na\tlabel\nx\t1\n")
    message = refusal(str(path), task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert message.startswith("F:1: is not UTF-8 (byte 1 of the file)")


def test_of_rows_joined_by_quotes_only_those_with_the_quotes_are_skipped(write):
    path = write("a\tlabel", '"I left early\t1', "fine day\t0", "so it was\t0", 'he said nothing"\t1', "end\t1")
    examples = read_examples(path, "t", task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert (examples.texts, examples.lines) == ([["fine day", "so it was", "end"]], [3, 4, 6])
    assert str(examples.skipped[0]).startswith("line 2: a quoted cell spans lines 2 to 5")
    assert str(examples.skipped[1]).startswith("line 5: contains an unpaired quote")


def test_the_last_line_of_a_broken_cell_is_not_an_example(tmp_path):
    """The cell at line 2 contains a bad byte. Its last line has two columns, but it is not a row."""
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,label\n"one, or\n\xff two\nthree",1\nfour,0\n')
    examples = read_examples(str(path), "t", task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert (examples.texts, examples.lines) == ([["four"]], [5])
    assert "line 2: line 3 is not UTF-8" in str(examples.skipped[0])


@pytest.mark.parametrize(
    ("count", "empty", "narrow"),
    [
        (2, "a is empty", "has 1 column, but the header has 2"),
        (4, "a is empty, in 2 rows (lines 3, 5)", "has 1 column, but the header has 2, in 2 rows (lines 4, 6)"),
    ],
)
def test_bad_rows_are_listed_by_problem(write, count, empty, narrow):
    path = write("a\tlabel", "one\t1", *(["\t1", "two"] * 20)[:count], *["one\t1"] * count)
    assert refusal(path, task("a"), PairClassification(4).labels).split("\n") == [
        f"F:3: {empty}.",
        f"F:4: {narrow}; check for a missing or stray delimiter or quote.",
        f"F: has {count} bad rows; correct them, or set tasks.mood.on_bad_row=skip.",
    ]


def test_one_bad_row_is_one_line(write):
    path = write("a\tlabel", "one\t1", "\t1", "one\t1")
    message = refusal(path, task("a"), PairClassification(4).labels)
    assert message == "F:3: a is empty; correct the row, or set tasks.mood.on_bad_row=skip."


def test_skipping_rows_is_not_suggested_if_most_rows_are_bad(write):
    path = write("a\tlabel", "one\t1", *["two\tyes"] * 29)
    problems = refusal(path, task("a"), PairClassification(4).labels).split("\n")
    assert problems == [
        "F:3: label must be one of 0, 1, but is 'yes', in 29 rows (lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ...).",
        "F: 29 of 30 rows are bad; check that the recipe's columns and labels fit this file.",
    ]


def test_rows_with_the_same_wrong_label_are_listed_once(write):
    rows = ["one	yes"] * 20 + ["two	Yes", "three	", "two	Yes", "two	maybe", "two	Yes"]
    path, labels = write("a	label", *rows), Classification(4, labels=["no", "yes"]).labels
    listed = [
        "label must be one of no, yes, but is 'Yes' (did you mean 'yes'?), in 3 rows (lines 22, 24, 26)",
        "label is empty",
        "label must be one of no, yes, but is 'maybe'",
    ]
    lines = (22, 23, 25)
    assert refusal(path, task("a"), labels).split("\n") == [
        *(f"F:{line}: {problem}." for line, problem in zip(lines, listed, strict=True)),
        "F: has 5 bad rows; correct them, or set tasks.mood.on_bad_row=skip.",
    ]
    examples = read_examples(path, "mood", task("a", on_bad_row="skip"), labels)
    shown = f"{listed[0]}; line 23: {listed[1]}; line 25: {listed[2]}"
    assert examples.skipped_note("F") == f"F: skipped 5 bad rows: {shown}"


def test_at_most_twenty_different_wrong_labels_are_listed(write):
    rows = [f"one\tname{i % 25}" for i in range(75)]
    path = write("a\tlabel", *["one\tyes"] * 80, *rows)
    *listed, last = refusal(path, task("a"), Classification(4, labels=["no", "yes"]).labels).split("\n")
    assert [", in 3 rows (lines " in each for each in listed] == [True] * 20
    assert last.startswith("F: has 75 bad rows, of which 60 are listed; ")


@pytest.mark.parametrize("text", ["Not Sure", "not sure", "not-sure", "NOT_SURE", "not\u00a0sure"])
def test_the_label_that_differs_in_case_or_spaces_is_suggested(text):
    with pytest.raises(ValueError, match=r"must be one of yes, not_sure, but is .* \(did you mean 'not_sure'\?\)"):
        Classification(4, labels=["yes", "not_sure"]).labels.parse(text)


def test_one_skipped_row_is_reported_in_the_singular():
    note = Examples([[]], skipped=[BadRow(2, Problem("a is empty"))]).skipped_note("F")
    assert note == "F: skipped 1 bad row: line 2: a is empty"


def repeated(write, name):
    rows = [f"user{number % 10}\tsome words {number}\t{number % 2}" for number in range(54)]
    return write(f"{name}\ta\tlabel", *rows)


def test_a_repeated_id_in_the_default_column_is_a_warning(write):
    path = repeated(write, "id")
    examples = read_examples(path, "mood", task("a"), PairClassification(4).labels)
    assert (len(examples), examples.skipped) == (54, [])
    assert examples.notes(path) == [
        f"{path}: 44 rows repeat the id of an earlier one, first line 12: id 'user0' is already used at line 2; "
        "if 'id' does not identify rows, set tasks.mood.id=null."
    ]


def test_there_is_no_warning_about_ids_if_id_is_null(write):
    path = repeated(write, "id")
    examples = read_examples(path, "mood", task("a", id=None), PairClassification(4).labels)
    assert (len(examples), examples.notes(path)) == (54, [])


def test_a_repeated_id_in_a_named_column_is_a_bad_row(write):
    path = repeated(write, "row")
    examples = read_examples(path, "mood", task("a", id="row", on_bad_row="skip"), PairClassification(4).labels)
    assert (len(examples), len(examples.skipped)) == (10, 44)
    assert str(examples.skipped[0]) == "line 12: row 'user0' is already used at line 2"


def test_jsonl_objects_need_only_the_columns_that_are_used(write):
    rows = (
        '{"lang": "en", "a": "x", "label": 1}',
        '{"label": 0, "a": "y", "extra": 1}',
        '{"id": 3, "a": "z", "label": 0}',
    )
    path = write(*rows, name="t.jsonl")
    examples = read_examples(path, "t", task("a"), PairClassification(4).labels)
    assert (examples.texts, examples.labels) == ([["x", "y", "z"]], [1, 0, 0])


@pytest.mark.parametrize("rows", [[], ["\t1"], ["x\t9"]])
def test_a_file_without_a_usable_row_is_refused(write, rows):
    message = refusal(write("a\tlabel", *rows), task("a", on_bad_row="skip"), PairClassification(4).labels)
    assert message.startswith("F: contains no usable row for task mood")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (task("c"), "F:1: has no column 'c', needed as text of task mood"),
        (task("a", "bb"), "F:1: has no column 'bb', needed as text of task mood"),
        (task("a", label="lable"), "F:1: has no column 'lable', needed as label of task mood"),
        (task("double"), "F:1: has more than one column 'double', needed as text of task mood"),
    ],
)
def test_a_missing_or_repeated_column_is_reported_with_its_use(write, section, message):
    path = write("a\tb\tlabel\tdouble\tdouble", "x\ty\t1\t\t")
    assert refusal(path, section, PairClassification(4).labels).startswith(message)


def test_a_wrong_column_is_reported_before_rows_are_read(write):
    path = write("a\tlabel", "x\t1\tragged")
    assert refusal(path, task("b"), PairClassification(4).labels).startswith("F:1: has no column 'b'")


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (5, 3), (None, 3)])
def test_a_limit_counts_usable_rows(write, limit, count):
    path = write("a\tlabel", "\t1", "one\t1", "two\t0", "three\t1")
    examples = read_examples(path, "t", task("a", on_bad_row="skip"), PairClassification(4).labels, limit)
    assert examples.texts == [["one", "two", "three"][:count]]


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [0]), (2, [0, 5]), (3, [0, 3, 6]), (4, [0, 2, 5, 7]), (9, list(range(9))), (10, None)]
)
def test_limited_rows_are_spread_over_the_file(write, limit, expected):
    path = write("a\tlabel", *(f"text {i}\t{i % 2}" for i in range(10)))
    examples = read_examples(path, "t", task("a"), PairClassification(4).labels, limit)
    expected = list(range(10)) if expected is None else expected
    assert examples.texts == [[f"text {i}" for i in expected]]
    assert examples.labels == [i % 2 for i in expected]
    assert examples.lines == [i + 2 for i in expected]


def test_rows_beyond_the_limit_are_also_checked(write):
    path = write("a\tlabel", "one\t1", "two\tx")
    with pytest.raises(DataError, match=":3: label must be"):
        read_examples(path, "t", task("a"), PairClassification(4).labels, limit=1)


@pytest.mark.parametrize(
    ("settings", "text"), [({}, 'a "b"'), ({"quoting": "none"}, '"a ""b"""'), ({"delimiter": "comma"}, None)]
)
def test_the_tasks_quoting_and_delimiter_are_used(write, settings, text):
    path = write("a\tlabel", '"a ""b"""\t1')
    if text is None:
        assert "has no column 'a'" in refusal(path, task("a", **settings), PairClassification(4).labels)
    else:
        assert read_examples(path, "t", task("a", **settings), PairClassification(4).labels).texts == [[text]]


def test_jsonl_examples_are_read(write):
    path = write('{"a": "x", "label": 1}', '{"a": "y", "label": 0.0}', name="t.jsonl")
    examples = read_examples(path, "t", task("a"), PairClassification(4).labels)
    assert (examples.texts, examples.labels, examples.lines) == ([["x", "y"]], [1, 0], [1, 2])


COURSE = {
    "ids-sst-train.csv": (8544, ("sentence",), "sentiment", Classification(4, num_classes=5)),
    "ids-sst-dev.csv": (1101, ("sentence",), "sentiment", Classification(4, num_classes=5)),
    "ids-cfimdb-train.csv": (1707, ("sentence",), "sentiment", Classification(4, num_classes=2)),
    "ids-cfimdb-dev.csv": (245, ("sentence",), "sentiment", Classification(4, num_classes=2)),
    "sts-train.csv": (6040, ("sentence1", "sentence2"), "similarity", CosineSimilarity(4)),
    "sts-dev.csv": (863, ("sentence1", "sentence2"), "similarity", CosineSimilarity(4)),
    "quora-train.csv": (44459, ("sentence1", "sentence2"), "is_duplicate", PairClassification(4)),
}


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "expected"), COURSE.items())
def test_all_rows_of_the_course_files_are_usable(course_data, name, expected):
    count, text, label, head = expected
    examples = read_examples(str(course_data / name), "t", task(*text, label=label), head.labels)
    assert len(examples) == count
    assert examples.skipped == []
    values = set(examples.labels)
    if isinstance(head, CosineSimilarity):
        assert min(values) == 0
        assert max(values) == 5
    else:
        assert values == {float(index) for index in range(len(head.labels))}


@pytest.mark.real_data
def test_the_two_quora_rows_without_a_label_are_reported(course_data):
    path = str(course_data / "quora-dev.csv")
    section = task("sentence1", "sentence2", label="is_duplicate")
    message = refusal(path, section, PairClassification(4).labels)
    first, second, last = message.splitlines()
    assert first == "F:1975: is_duplicate is empty."
    assert second == "F:10674: sentence2 is empty."
    assert last == "F: has 2 bad rows; correct them, or set tasks.mood.on_bad_row=skip."


@pytest.mark.real_data
def test_the_two_quora_rows_without_a_label_are_skipped_and_listed(course_data):
    section = task("sentence1", "sentence2", label="is_duplicate", on_bad_row="skip")
    examples = read_examples(str(course_data / "quora-dev.csv"), "quora", section, PairClassification(4).labels)
    assert len(examples) == 15_214 - 2
    assert list(map(str, examples.skipped)) == ["line 1975: is_duplicate is empty", "line 10674: sentence2 is empty"]
