import io
import re

import pytest
from rich.console import Console

from mbert_cli.terminal.tables import key_values, new_table

LINES = re.compile(r"[│┃┏┓┗┛┡┩├┤└┘┬┴┼╇┳┻━─]+")


def printed(table, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table, crop=False)
    return console.file.getvalue()


def words_of(text):
    """Return the words and numbers of a table, without its lines."""
    return {word.strip(",;:.") for word in LINES.sub(" ", text).split()}


def table_of(rows):
    table = new_table("name", ("number of rows", "right"), "text", drop=("number of rows",))
    for row in rows:
        table.add_row(*row)
    return table


ROWS = [("CONTRADICTION", "22,713,216", "a text of some words"), ("[red]", "1", "entailment/neutral")]


@pytest.mark.parametrize("width", range(12, 70))
def test_no_word_is_broken_at_any_width_and_no_line_is_longer_than_its_longest_word(width):
    text = printed(table_of(ROWS), width)
    wide = words_of(printed(table_of(ROWS), 200))
    dropped = {"22,713,216", "1", "number", "of", "rows"} if "not shown" in text else set()
    assert words_of(text.partition("not shown")[0]) >= wide - dropped
    assert words_of(text.partition("not shown")[0]) <= wide
    assert all(len(line.rstrip()) <= max(width, len("entailment/neutral")) for line in text.splitlines())


def test_the_widest_form_that_fits_is_printed():
    shapes = [printed(table_of(ROWS), width) for width in (60, 50, 44, 32)]
    assert ["┃" in shape for shape in shapes] == [True, False, True, False]
    assert ["not shown in" in shape for shape in shapes] == [False, False, True, False]
    assert [line.split() for line in shapes[3].splitlines()[:2]] == [
        ["name", "CONTRADICTION"],
        ["number", "of", "rows", "22,713,216"],
    ]


def test_the_narrow_form_replaces_a_table_that_does_not_fit():
    table = new_table("name", narrow="in short")
    table.add_row("CONTRADICTION")
    assert "CONTRADICTION" in printed(table, 20)
    assert printed(table, 10) == "in short\n"


@pytest.mark.parametrize("width", [60, 50, 44, 32, 12])
def test_the_heading_is_above_every_form_except_the_narrow_one(width):
    table = table_of(ROWS)
    table.heading = "Sizes"
    assert printed(table, width) == "Sizes\n" + printed(table_of(ROWS), width)
    narrow = new_table("name", narrow="in short")
    narrow.heading = "Sizes"
    narrow.add_row("x" * 100)
    assert printed(narrow, width) == "in short\n"


def test_a_value_is_printed_below_its_name_if_it_does_not_fit_beside_it():
    facts = key_values({"platform": "Linux-6.1.0-x86_64-with-glibc2.36", "cpu": "2 cores"})
    assert [line.split() for line in printed(facts, 60).splitlines()] == [
        ["platform", "Linux-6.1.0-x86_64-with-glibc2.36"], ["cpu", "2", "cores"],
    ]  # fmt: skip
    narrow = printed(facts, 20)
    assert "Linux-6.1.0-x86_64-with-glibc2.36\n" in narrow
