import re

import pytest

from mbert_cli.data.delimiter import delimiter_hint, guess_delimiter, outside_quotes
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a\tb,c;d", "\t"), ("a,b;c", ","), ("a;b|c", ";"), ("a|b", "\t"), ("a", "\t"), ("", "\t")],
)
def test_the_guess_is_the_first_of_tab_comma_and_semicolon(header, delimiter):
    assert guess_delimiter(header) == delimiter


@pytest.mark.parametrize(
    ("header", "outside"),
    [
        ('"a,b";c', ";c"),
        ('a;"b,c"', "a;"),
        ('"say ""a,b""";c', ";c"),
        ('a "quoted" word,b', 'a "quoted" word,b'),
        ("a,b", "a,b"),
    ],
)
def test_quoted_cells_of_a_header_do_not_count(header, outside):
    assert outside_quotes(header, [header], iter(())) == outside


def test_lines_are_read_while_a_quote_is_open():
    head, lines = ['"a,\n'], iter(['b";c\n', "1;2\n"])
    assert outside_quotes(head[0], head, lines) == ";c\n"
    assert head == ['"a,\n', 'b";c\n']
    assert list(lines) == ["1;2\n"]


def test_the_hint_names_the_most_frequent_other_delimiter():
    hint = delimiter_hint(",", "a,b|c|d;e")
    assert hint.startswith(" The columns were split at each comma; if pipe is the delimiter, add --delimiter pipe")
    assert delimiter_hint("\t", "a\tb") == ""


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
