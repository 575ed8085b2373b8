import csv
import io
import json
import re
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.errors import DataError, UsageError


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "t.tsv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def read(path: str, **settings) -> tuple[list[str], list[list[str]]]:
    with Table(path, **settings) as table:
        return table.header, [row.cells for row in table]


def refusal(path: str, **settings) -> str:
    """Return the message of the error, with F instead of the path."""
    with pytest.raises(DataError) as error:
        read(path, **settings)
    return str(error.value).replace(path, "F")


def rfc4180(text: str, delimiter: str) -> list[list[str]]:
    """Read RFC 4180 character by character; blank lines are skipped."""
    rows, row, cell = [], [], ""
    quoted = was_quoted = False
    at = 0
    while at < len(text):
        character = text[at]
        if quoted:
            if character != '"':
                cell += character
            elif text[at + 1 : at + 2] == '"':
                cell += '"'
                at += 1
            else:
                quoted = False
        elif character == '"' and not cell and not was_quoted:
            quoted = was_quoted = True
        elif character == delimiter:
            row.append(cell)
            cell, was_quoted = "", False
        elif character == "\n":
            if row or cell or was_quoted:
                rows.append([*row, cell])
            row, cell, was_quoted = [], "", False
        elif character != "\r":
            cell += character
        at += 1
    if row or cell or was_quoted:
        rows.append([*row, cell])
    return rows


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("x\ty", ["x", "y"]),
        ('"x"\t"y"', ["x", "y"]),
        ('"a\tb"\ty', ["a\tb", "y"]),
        ('"a\nb"\ty', ["a\nb", "y"]),
        ('"a\r\nb"\ty', ["a\r\nb", "y"]),
        ('"he said ""no"""\ty', ['he said "no"', "y"]),
        ('""""\t""', ['"', ""]),
        ('a "word" here\t6" pipe', ['a "word" here', '6" pipe']),
        ("\t", ["", ""]),
        (" x \t y ", [" x ", " y "]),
        ("a\u2028b\tc\x85d\x0be", ["a\u2028b", "c\x85d\x0be"]),
        ("é\t日本", ["é", "日本"]),
        ("'x\t'y", ["'x", "'y"]),
        ("\\\t\\n", ["\\", "\\n"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_are_read_as_in_rfc_4180(write, text, cells, end):
    content = f"a\tb{end}{text}{end}"
    assert read(write(content)) == (["a", "b"], [cells])
    assert rfc4180(content, "\t") == [["a", "b"], cells]  # the independent reader agrees


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('"x"\t"y', ['"x"', '"y']),
        ('he said ""no""\t"', ['he said ""no""', '"']),
        (" x\t", [" x", ""]),
        ("a\u2028b\tc", ["a\u2028b", "c"]),
    ],
)
def test_without_quoting_a_quote_is_an_ordinary_character(write, text, cells):
    assert read(write(f"a\tb\n{text}\n"), quoting="none") == (["a", "b"], [cells])


@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_a_lone_carriage_return_is_refused(write, quoting):
    with pytest.raises(DataError, match=r"t.tsv:3: a carriage return stands alone"):
        read(write("a\tb\n1\t2\r\nx\r\ty\n"), quoting=quoting)


@pytest.mark.parametrize("quoting", ["csv", "none"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_are_not_part_of_cells(write, quoting, end, last):
    text = f"a\tb{end}1\t2{end}3\t4" + end * last
    assert read(write(text), quoting=quoting) == (["a", "b"], [["1", "2"], ["3", "4"]])


@pytest.mark.parametrize(
    ("text", "header"),
    [("a\tb,c\n", ["a", "b,c"]), ("a,b\n", ["a", "b"]), ("a b\n", ["a b"]), ('"a,b",c\n', ["a,b", "c"])],
)
def test_the_delimiter_is_guessed_from_the_header(write, text, header):
    for name in ("t.csv", "t.tsv", "t.txt"):
        assert read(write(text, name))[0] == header


@pytest.mark.parametrize(
    ("delimiter", "header"), [("tab", ["a,b", "c|d"]), ("comma", ["a", "b\tc|d"]), ("pipe", ["a,b\tc", "d"])]
)
def test_a_given_delimiter_is_used(write, delimiter, header):
    assert read(write("a,b\tc|d\n"), delimiter=delimiter)[0] == header


def test_a_byte_order_mark_is_not_part_of_the_header(write):
    assert read(write(b"\xef\xbb\xbfa\tb\n1\t2\n"))[0] == ["a", "b"]


@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_rows_have_the_number_of_their_line(write, quoting):
    with Table(write("a\tb\n\n1\t2\n\n\n3\t4\n"), quoting) as table:
        assert [(row.line, row.cells) for row in table] == [(3, ["1", "2"]), (6, ["3", "4"])]


def test_a_row_of_several_lines_has_the_number_of_its_first_line(write):
    with Table(write('a\tb\n"1\n\n1"\t2\n3\t4\n')) as table:
        assert [(row.line, row.cells) for row in table] == [(2, ["1\n\n1", "2"]), (5, ["3", "4"])]


def test_a_shifted_header_with_an_unnamed_column_is_read(write):
    with Table(write("0\t\tid\tsentence\n0\t7\tab12\tfine\n")) as table:
        assert table.column("sentence") == 3
        assert [row.cells[3] for row in table] == ["fine"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\n1\t2\n1\t2\t3\n", "F:3: has 3 columns, but the header has 2"),
        ("a\tb\n1\n", "F:2: has 1 column, but the header has 2"),
        ('a\tb\n"1\n1"\t2\n5\n', "F:4: has 1 column, but the header has 2"),
        ('a\tb\n1\t2\n3\t"4\n5\t6\n7\t8\n', "F:3: a quote opens here and is never closed"),
        ('a\t"b\n1\t2\n', "F:1: a quote opens here and is never closed"),
        ('a\tb\n"1"x\t2\n', "F:2: text follows a closing quote"),
        ('a\tb\n1\t2\n"he said "no" to me"\t2\n', "F:3: text follows a closing quote"),
        ("a\tb\n1\r2\t3\n", "F:2: a carriage return stands alone"),
        ("a\tb\n1\t2\n1\x00\t2\n", "F:3: holds a NUL byte"),
        (b"a\tb\n1\t\xff\n", "F:2: is not UTF-8 (byte 6 of the file)"),
        (b"a\tb\r\n\xc3\xa91\t2\r\n\xe4\t2\n", "F:3: is not UTF-8 (byte 12 of the file)"),
        (b"\xef\xbb\xbfa\tb\n\xff\t\n", "F:2: is not UTF-8 (byte 7 of the file)"),
        (b"\xef\xbb\xbfa\xff\tb\n", "F:1: is not UTF-8 (byte 4 of the file)"),
        (b"\xff\xfea\x00\t\x00b\x00\n\x00", "F:1: is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW."),
        (b"\xfe\xff\x00a\x00\n", "F:1: is UTF-16"),
        ("", "F: is empty"),
        ("\n", "F: is empty"),
        ("  \n", "F: is empty"),
        ("\n\n\n", "F: is empty"),
        (b"\xef\xbb\xbf", "F: is empty"),
    ],
)
def test_a_malformed_table_is_refused_with_the_line(write, content, message):
    assert refusal(write(content)).startswith(message)


@pytest.mark.parametrize("blank", ["\n", "\n\n", "\r\n\n\n"])
@pytest.mark.parametrize("delimiter", ["\t", ","])
@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_blank_lines_above_the_header_are_skipped(write, blank, delimiter, quoting):
    text = f"{blank}a{delimiter}b\n1{delimiter}2\n"
    with Table(write(text), quoting) as table:
        assert table.header == ["a", "b"]
        assert [(row.line, row.cells) for row in table] == [(blank.count("\n") + 2, ["1", "2"])]


@pytest.mark.parametrize("content", ["", "\n", "\n\n", " \n \n"])
def test_a_jsonl_file_without_a_record_is_refused(write, content):
    assert refusal(write(content, "t.jsonl")).startswith("F: is empty")


@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_a_file_with_only_a_header_is_a_table_without_rows(write, quoting):
    assert read(write("a\tb\n"), quoting=quoting) == (["a", "b"], [])


def test_a_folder_is_refused(tmp_path):
    assert refusal(str(tmp_path)) == "F: is a folder; name the file in it."


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(str(tmp_path / "no.tsv")).startswith("F: cannot be read (No such file")


def test_an_invalid_file_name_is_bad_usage():
    with pytest.raises((UsageError, DataError)):
        Table("a\0b")


def test_a_missing_column_is_refused_with_the_nearest_name(write):
    with Table(write("id\tsentence\t\n")) as table, pytest.raises(DataError) as error:
        table.column("sentense", "text of task sst")
    assert str(error.value).endswith(
        "t.tsv:1: has no column 'sentense', needed as text of task sst; did you mean 'sentence'? Known: id, sentence."
    )


@pytest.mark.parametrize(("text", "name"), [("\n\na\tb\n", "t.tsv"), ('\n\n{"a": 1}\n', "t.jsonl")])
def test_a_missing_column_is_reported_with_the_line_of_the_header(write, text, name):
    with Table(write(text, name)) as table, pytest.raises(DataError, match=rf"{name}:3: has no column 'c'"):
        table.column("c")


def test_a_column_that_occurs_twice_is_refused_if_it_is_used(write):
    with Table(write("a\tb\tb\n")) as table:
        assert table.column("a") == 0
        with pytest.raises(DataError, match=r"t\.tsv:1: has more than one column 'b'; rename all but one"):
            table.column("b")


def test_cells_may_be_long(write):
    cell = "x" * 300_000
    assert read(write(f"a\tb\n{cell}\t1\n")) == (["a", "b"], [[cell, "1"]])


def test_an_endless_cell_is_refused_with_its_row(write):
    assert refusal(write(f"a\tb\n1\t2\n{'x' * (1 << 24)}x\t1\n")).startswith("F:3: a cell is longer than 16 Mi charac")


def test_an_escaped_surrogate_pair_in_jsonl_is_one_character(write):
    assert read(write('{"a": "\\ud83d\\ude42 \\\\ud800"}\n', "t.jsonl"))[1] == [["\U0001f642 \\ud800"]]


# Quotes that are text

SWALLOWED = 'text\tlabel\n"I left early\tbad\nfine day\tgood\nhe said nothing"\tbad\n'
PLAIN = [['"I left early', "bad"], ["fine day", "good"], ['he said nothing"', "bad"]]
REMEDIES = (
    "if quotes are plain text in this file, add --quoting none (in a recipe's task: quoting: none); "
    "if one cell holds these lines, add --quoting csv (quoting: csv)."
)


def warnings(path: str, **settings) -> list[str]:
    with Table(path, **settings) as table:
        list(table)
        return [each.replace(path, "F") for each in table.warnings]


def test_rows_that_a_stray_quote_joins_are_refused(write):
    path = write(SWALLOWED)
    expected = "F:2: a quoted cell spans lines 2 to 4, each of which could be a row of 2 columns by itself; "
    assert refusal(path) == expected + REMEDIES
    assert read(path, quoting="none")[1] == PLAIN
    assert warnings(path, quoting="none") == []


def test_rows_joined_by_quotes_are_one_cell_with_a_warning_if_the_caller_trusts_quotes(write):
    path = write(SWALLOWED)
    assert read(path, quoting="csv")[1] == [["I left early\tbad\nfine day\tgood\nhe said nothing", "bad"]]
    (warning,) = warnings(path, quoting="csv")
    assert warning.startswith(
        "F: a quoted cell spans lines 2 to 4, each of which could be a row by itself; if quotes are "
    )


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("between", [0, 1, 30])
def test_rows_joined_by_quotes_are_refused_for_any_place_of_the_quotes(write, delimiter, place, between):
    """A file with three columns: one cell begins with a quote, and a cell some rows below ends with a quote."""
    rows = [[f"a{i}", f"b{i}", f"c{i}"] for i in range(between + 5)]
    rows[2][place] = '"' + rows[2][place]
    rows[3 + between][place] += '"'
    path = write("\n".join(delimiter.join(row) for row in [["x", "y", "z"], *rows]) + "\n")
    assert read(path, quoting="none")[1] == rows
    assert refusal(path).startswith(f"F:4: a quoted cell spans lines 4 to {5 + between}, each of which could be a row")


def test_a_list_of_texts_in_which_a_quote_joins_lines_is_refused(write):
    path = write('text\n"I left early\nfine day\nhe said nothing"\n')
    assert refusal(path).startswith("F:2: a quoted cell spans lines 2 to 4, each of which could be a row by itself;")


REVIEWS = [
    ["Great, really.\nI bought two,\nand would again", "good"],
    ["Well, no\nit broke, at once", "bad"],
    ["one line, but a comma", "bad"],
    ['They call it "new"\nit is not', "bad"],
    ["\nstarts, and ends, with line ends\n\n", "good"],
    ["Hi Bob,\nthanks for it", "good"],
    ["plain", "bad"],
]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_well_formed_exports_with_cells_of_several_lines_are_read(tmp_path, quoting, delimiter, end):
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(
            [["text", "label"], *REVIEWS]
        )
    assert read(str(path)) == (["text", "label"], REVIEWS)


@pytest.mark.parametrize(
    "row",
    [
        '"Well, no\nit broke",bad',  # a comma in a sentence
        '"He said ""no"",\nand left",bad',  # a doubled quote
        '"Well,\nno","bad"',  # all cells are quoted
    ],
)
def test_joined_lines_are_only_a_warning_if_the_row_shows_that_quotes_are_syntax(write, row):
    path = write(f"text,label\n{row}\n", "t.csv")
    assert len(read(path)[1]) == 1
    (warning,) = warnings(path)
    assert warning.startswith(
        "F: a quoted cell spans lines 2 to 3, each of which could be a row by itself; if quotes are "
    )


def test_joined_lines_are_only_a_warning_if_an_earlier_row_shows_that_quotes_are_syntax(write):
    doubtful = '"Hi Bob,\nthanks for it",good\n'
    assert "a quoted cell spans lines 2 to 3" in refusal(write(f"text,label\n{doubtful}", "t.csv"))
    path = write(f'text,label\n"yes,no",bad\n{doubtful * 3}', "t.csv")
    assert len(read(path)[1]) == 4
    (warning,) = warnings(path)
    assert warning.startswith(
        "F: 3 quoted cells span lines that could be rows by themselves, the first lines 3 to 4; if"
    )


def test_a_row_of_wrong_width_is_reported_with_the_lines_that_it_spans(write):
    message = refusal(write('a\tb\n1\t"2\n3\t4\n5"\t6\n'))
    assert message.startswith("F:2: has 3 columns, but the header has 2, and spans lines 2 to 4; check for")
    assert message.endswith(
        "(if quotes are plain text in this file, add --quoting none (in a recipe's task: quoting: none))."
    )


# Empty lines


@pytest.mark.parametrize("quoting", ["auto", "csv", "none"])
@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.txt"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_in_a_file_with_one_column_each_line_is_a_row(write, quoting, name, end):
    lines = ["text", "first", "", "third", "", ""]
    assert read(write(end.join(lines) + end, name), quoting=quoting)[1] == [[line] for line in lines[1:]]
    assert read(write(end.join(lines[:4]), name), quoting=quoting)[1] == [["first"], [""], ["third"]]


@pytest.mark.parametrize("quoting", ["auto", "none"])
def test_in_a_file_with_several_columns_empty_lines_are_skipped(write, quoting):
    assert read(write("a\tb\n1\t2\n\n3\t4\n\n"), quoting=quoting)[1] == [["1", "2"], ["3", "4"]]


# JSONL


def test_the_header_of_jsonl_has_the_names_of_the_first_objects(write):
    path = write('{"a": "x", "b": 1}\n\n{"b": 2.5, "a": null, "c": 3}\n{"a": "é\\n", "b": true}\n', "t.jsonl")
    with Table(path) as table:
        assert table.header == ["a", "b", "c"]
        assert [(row.line, row.cells) for row in table] == [
            (1, ["x", "1", ""]),
            (3, ["", "2.5", "3"]),
            (4, ["é\n", "true", ""]),
        ]


def test_a_jsonl_object_needs_only_the_columns_that_are_used(write):
    path = write('{"a": "x", "lang": "en"}\n{"a": "y"}\n{"lang": "de"}\n', "t.jsonl")
    with Table(path) as table:
        table.column("a", "text of task t")
        rows = iter(table)
        assert [next(rows).cells, next(rows).cells] == [["x", "en"], ["y", ""]]
        with pytest.raises(DataError, match=r"t\.jsonl:3: no 'a'\."):
            next(rows)


def test_a_name_that_the_first_object_lacks_is_a_column(write):
    path = write('{"lang": "en"}\n{"a": "y"}\n', "t.jsonl")
    with Table(path) as table:
        table.column("a", "text of task t")
        assert [row.problem for row in table.all_rows()] == ["no 'a'", ""]


def test_an_object_may_be_nested_up_to_a_limit(write):
    assert read(write('{"a": ' + "[" * 200 + "]" * 200 + "}\n", "t.jsonl"))[1] == [["[" * 200 + "]" * 200]]
    message = refusal(write('{"a": 1}\n{"a": ' + "[" * 201 + "]" * 201 + "}\n", "t.jsonl"))
    assert message == "F:2: is not JSON (is nested deeper than 200 levels)."


NUMBERS = [
    "1e400",
    "-1E-400",
    "1.10",
    "1234567890123456789",
    "9" * 10_000,
    "0.1000000000000000055",
    "-0",
    "NaN",
    "-Infinity",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_jsonl_keep_their_text(write, number):
    path = write(f'{{"a": {number}, "b": [{number}, {{"c": {number}}}]}}\n', "t.jsonl")
    assert read(path)[1] == [[number, f'[{number}, {{"c": {number}}}]']]
    text = written(path, ["pred"], ["yes"])
    assert text == f'{{"a": {number}, "b": [{number}, {{"c": {number}}}], "pred": "yes"}}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": }\n', "F:2: is not JSON (Expecting value: column 7)."),
        ('{"a": 1}\n[1]\n', "F:2: must be a JSON object with names, but is '[1]'."),
        ('\n{}\n{"a": 1}\n', "F:2: must be a JSON object with names, but is '{}'."),
        ('{"a": 1}\n{"a": "x\\ud800"}\n', "F:2: escapes one half of a surrogate pair"),
        ('{"a": 1}\n{"a": [{"\\uDFFF": 2}]}\n', "F:2: escapes one half of a surrogate pair"),
        ('{"a": 1}\n{"b": 1, "a": 2, "b": 3}\n', "F:2: is not JSON (the name 'b' occurs twice)."),
        ("{" * 100_000 + "\n", "F:1: is not JSON"),
        ('{"a": ' + "[" * 100_000 + "\n", "F:1: "),
        ("nonsense\n", "F:1: is not JSON"),
    ],
)
def test_malformed_jsonl_is_refused_with_the_line(write, content, message):
    assert refusal(write(content, "t.jsonl")).startswith(message)


@pytest.mark.parametrize(("text", "header"), [("a\tb\n1\t2\n", ["a", "b"]), ('{"x": 1}\n', ["x"])])
def test_standard_input_may_be_a_table_or_jsonl(write, monkeypatch, text, header):
    with open(write(text)) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert read("-")[0] == header
        assert not stdin.buffer.closed


def test_messages_name_standard_input(write, monkeypatch):
    with open(write("a\tb\n1\n")) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(DataError, match=r"^standard input:2: has 1 column"):
            read("-")


# Writing


def written(path: str, appended: list[str], values: list, **settings) -> str:
    out = io.StringIO()
    with Table(path, **settings) as table:
        writer = TableWriter(out, table, appended)
        writer.write_header()
        for row in table:
            writer.write(row, values)
    return out.getvalue()


@pytest.mark.parametrize(
    "rows",
    [
        [["x", "y"]],
        [["a\tb", 'say "no"']],
        [["two\nlines", ""]],
        [["a\u2028b", " "]],
        [["é", "'"], ["1", "2"]],
        [["", ""]],
    ],
)
def test_written_rows_read_back_the_same(write, rows):
    quoted = "\n".join("\t".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    text = written(write(f"a\tb\n{quoted}\n"), ["pred", "score"], ["yes", 0.25])
    assert rfc4180(text, "\t") == [["a", "b", "pred", "score"], *([*row, "yes", "0.25"] for row in rows)]


def test_without_quoting_cells_are_written_unchanged(write):
    assert written(write('a\tb\n"x\t""\n'), ["pred"], ["1"], quoting="none") == 'a\tb\tpred\n"x\t""\t1\n'


def test_jsonl_rows_keep_their_values(write):
    text = written(write('{"a": "é", "b": [1, null]}\n', "t.jsonl"), ["pred", "score"], ["yes", 0.5])
    assert json.loads(text) == {"a": "é", "b": [1, None], "pred": "yes", "score": 0.5}


def test_a_prediction_never_replaces_a_value_of_a_jsonl_object(write):
    path = write('{"a": 1}\n{"a": 2, "pred": "mine"}\n', "t.jsonl")
    with pytest.raises(
        DataError, match=r"t\.jsonl:2: already has names that the prediction would add \(pred\); rename them"
    ):
        written(path, ["pred"], ["yes"])


def test_numbers_are_written_with_six_significant_digits(write):
    out = io.StringIO()
    with Table(write("a,b\n")) as table:
        writer = TableWriter(out, table, ["x", "y"])
        writer.write_header()
        writer.write(Row(2, ["1", "2"]), [1 / 3, 12345678.0])
    assert out.getvalue().splitlines()[1] == "1,2,0.333333,1.23457e+07"


# Course files

COURSE = {
    "ids-sst-train.csv": 8544,
    "ids-sst-dev.csv": 1101,
    "ids-sst-test-student.csv": 2210,
    "sts-train.csv": 6040,
    "sts-dev.csv": 863,
    "sts-test-student.csv": 1725,
    "quora-train.csv": 44459,
    "quora-dev.csv": 15214,
    "ids-cfimdb-train.csv": 1707,
    "ids-cfimdb-dev.csv": 245,
}


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "count"), COURSE.items())
def test_all_cells_of_the_course_files_are_read(course_data, name, count):
    header, rows = read(str(course_data / name))
    expected = rfc4180((course_data / name).read_bytes().decode("utf-8"), "\t")
    assert len(rows) == count
    # The indices are compared, so that a failure prints no sentence of the data.
    assert [i for i, pair in enumerate(zip([header, *rows], expected, strict=True)) if pair[0] != pair[1]] == []


@pytest.mark.real_data
def test_quoting_changes_298_rows_of_a_course_file(course_data):
    with_quotes = read(str(course_data / "sts-train.csv"))[1]
    without = read(str(course_data / "sts-train.csv"), quoting="none")[1]
    assert sum(one != two for one, two in zip(with_quotes, without, strict=True)) == 298


# Any bytes


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.sampled_from(
            [b"a", b"\t", b"\n", b'"', b"\r", b",", b"{", b"}", b'"a":1', b"\xff", b"\0", b"\xef\xbb\xbf", b" "]
        )
        | st.binary(max_size=3),
        max_size=30,
    ).map(b"".join),
    name=st.sampled_from(["t.tsv", "t.jsonl"]),
    quoting=st.sampled_from(["csv", "none"]),
)
def test_any_bytes_are_read_as_a_table_or_refused_with_the_name_of_the_file(tmp_path, data, name, quoting):
    path = tmp_path / name
    path.write_bytes(data)
    try:
        header, rows = read(str(path), quoting=quoting)
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert all(len(row) == len(header) for row in rows)


@pytest.mark.parametrize(
    ("text", "sign"),
    [("id;text;name, given\n1;a cat;x\n", "semicolon"), ("id|text\n1|a cat\n", "pipe"), ("id,a;text\n", "semicolon")],
)
def test_the_message_names_the_option_if_the_delimiter_may_be_wrong(tmp_path, text, sign):
    path = tmp_path / "in.csv"
    path.write_text(text)
    hint = re.escape(f"if {sign} is the delimiter, add --delimiter {sign} (in a recipe's task: delimiter: {sign}).")
    with Table(str(path)) as table, pytest.raises(DataError, match=hint):
        table.column("text")
    if "given" in text:
        with Table(str(path)) as table, pytest.raises(DataError, match=rf"in.csv:2: has 1 column.*{hint}"):
            list(table)
    with Table(str(path), delimiter=sign) as table:
        assert table.column("text") == 1


def test_there_is_no_advice_if_the_delimiter_was_given_or_is_the_only_one(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,text\n")
    with Table(str(path)) as table, pytest.raises(DataError) as refusal:
        table.column("txt")
    assert "--delimiter" not in str(refusal.value)
    path.write_text("id;text, given\n")
    with Table(str(path), delimiter="comma") as table, pytest.raises(DataError) as refusal:
        table.column("txt")
    assert "--delimiter" not in str(refusal.value)
