import pytest

from mbert_cli.data.delimiter import delimiter_hint, guess_delimiter, outside_quotes


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
