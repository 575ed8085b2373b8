import gzip
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_files import read, refusal, rfc4180

from mbert_cli.data.table import Table
from mbert_cli.errors import DataError, UsageError


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
        ("a\tb\n1\t2\n1\x00\t2\n", "F:3: contains a NUL byte"),
        (b"a\tb\n1\t\xff\n", "F:2: is not UTF-8 (byte 6 of the file)"),
        (b"a\tb\r\n\xc3\xa91\t2\r\n\xe4\t2\n", "F:3: is not UTF-8 (byte 12 of the file)"),
        (b"\xef\xbb\xbfa\tb\n\xff\t\n", "F:2: is not UTF-8 (byte 7 of the file)"),
        (b"\xef\xbb\xbfa\xff\tb\n", "F:1: is not UTF-8 (byte 4 of the file)"),
        (b"\xff\xfea\x00\t\x00b\x00\n\x00", "F:1: is UTF-16; convert it: `iconv -f UTF-16 -t UTF-8 F > "),
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


def test_the_command_that_converts_a_file_can_be_pasted(tmp_path):
    path = tmp_path / "my data.tsv"
    path.write_bytes("a\tb\ncafé\t1\n".encode("cp1252"))
    packed = tmp_path / "data.tsv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for source, new in ((path, "my data.utf8.tsv"), (packed, "data.utf8.tsv")):
        with pytest.raises(DataError) as error:
            read(str(source))
        subprocess.run(str(error.value).split("`")[1], shell=True, check=True)
        assert read(str(tmp_path / new)) == (["a", "b"], [["café", "1"]])


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
    assert refusal(str(tmp_path / "no.tsv")) == ("F: there is no such file; correct the path, or put the file there.")
    (tmp_path / "now.tsv").touch()
    assert refusal(str(tmp_path / "no.tsv")).endswith("did you mean 'now.tsv'?")


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


def test_a_line_for_excel_above_the_header_is_rejected_with_a_command_that_removes_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sep=;\ntext;label\ngood;1\n")
    with pytest.raises(
        DataError, match=r"a.csv:1: is sep=;, a line for Excel above the header; remove it: `tail -n \+2"
    ):
        Table(str(path))
