import csv

import pytest
from table_files import read, refusal, warnings

from mbert_cli.data.table import Table

SWALLOWED = 'text\tlabel\n"I left early\tbad\nfine day\tgood\nhe said nothing"\tbad\n'
PLAIN = [['"I left early', "bad"], ["fine day", "good"], ['he said nothing"', "bad"]]
REMEDIES = (
    "if quotes are plain text in this file, add --quoting none (in a recipe's task: quoting: none); "
    "if one cell contains these lines, add --quoting csv (quoting: csv)."
)


def test_rows_that_a_stray_quote_joins_are_refused(write):
    path = write(SWALLOWED)
    expected = "F:2: a quoted cell spans lines 2 to 4, each of which could be a row of 2 columns by itself; "
    assert refusal(path) == expected + REMEDIES
    assert read(path, quoting="none")[1] == PLAIN
    assert warnings(path, quoting="none") == []


def test_rows_joined_by_quotes_are_one_cell_without_a_warning_if_the_caller_trusts_quotes(write):
    path = write(SWALLOWED)
    assert read(path, quoting="csv")[1] == [["I left early\tbad\nfine day\tgood\nhe said nothing", "bad"]]
    assert warnings(path, quoting="csv") == []


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


@pytest.mark.parametrize("place", range(6))
def test_the_order_of_the_rows_that_show_that_quotes_are_syntax_does_not_matter(write, place):
    rows = ['"Hi Bob,\nthanks for it",good\n'] * 5
    rows.insert(place, '"a,b\nc,d,e",bad\n')
    path = write("text,label\n" + "".join(rows), "t.csv")
    assert len(read(path)[1]) == 6
    (warning,) = warnings(path)
    assert warning.startswith("F: 5 quoted cells span lines that could be rows by themselves, the first lines")


def test_a_later_row_does_not_show_that_quotes_are_syntax_if_as_many_have_them_in_wrong_places(write):
    doubtful, evidence, wrong = '"Hi Bob,\nthanks for it",good\n', '"yes,no",bad\n', '"no" he said,bad\n'
    assert "a quoted cell spans lines 2 to 3" in refusal(write(f"text,label\n{doubtful}{evidence}{wrong}", "a.csv"))
    assert "a quoted cell spans lines 2 to 3" in refusal(write(f"text,label\n{doubtful}{wrong}{evidence}", "b.csv"))
    path = write(f"text,label\n{doubtful}{evidence * 2}{wrong}", "c.csv")
    assert refusal(path).startswith("F:6: text follows a closing quote")


def test_lines_that_were_looked_at_are_read_with_their_numbers(write, monkeypatch):
    monkeypatch.setattr("mbert_cli.data.csv_rows._AHEAD", 40)
    rows = ['"Hi Bob,\nthanks for it",good', '"yes,no",bad', "plain,bad", '"x,y\nz",bad', '"Hi Al,\nbye for it",good']
    path = write("text,label\n" + "\n".join(rows * 4) + "\n", "t.csv")
    with Table(path) as table:
        lines = [row.line for row in table]
    assert lines == [start + offset for start in range(2, 34, 8) for offset in (0, 2, 3, 4, 6)]
    with Table(path) as table:
        next(iter(table))
        assert table.skip(7) == 7
        assert next(iter(table)).line == lines[8]


def test_joined_lines_give_no_warning_if_the_user_states_that_quotes_are_syntax(write):
    path = write('text,label\n"yes,no",bad\n"Hi Bob,\nthanks for it",good\n', "t.csv")
    assert len(warnings(path)) == 1
    assert warnings(path, quoting="csv") == []


def test_a_row_of_wrong_width_is_reported_with_the_lines_that_it_spans(write):
    message = refusal(write('a\tb\n1\t"2\n3\t4\n5"\t6\n'))
    assert message.startswith("F:2: has 3 columns, but the header has 2, and spans lines 2 to 4; check for")
    assert message.endswith(
        "; if quotes are plain text in this file, add --quoting none (in a recipe's task: quoting: none)."
    )


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
