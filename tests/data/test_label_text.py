"""Labels as texts: equal labels, numbers, dates."""

import pytest

from mbert_cli.data.label_text import folded, has_decimal_comma, is_date, plain_number


@pytest.mark.parametrize(
    ("text", "same"),
    [(" 1.0 ", "1"), ("1.", "1"), ("-1.00", "-1"), ("01", "01"), ("01.0", "01"), ("007", "007"), ("1E2", "1E2"),
     ("+1", "+1"), ("1.5", "1.5"), ("cafe\u0301", "caf\u00e9"), ("\u0661.0", "\u0661.0")],
)  # fmt: skip
def test_only_whole_numbers_with_decimal_zeros_equal_other_labels(text, same):
    assert folded(text) == same


@pytest.mark.parametrize(("text", "is_one"), [("3,7", True), ("1,234", True), ("-1.234,5", True), ("1,2,3", False)])
def test_numbers_with_commas_are_recognised(text, is_one):
    assert has_decimal_comma(text) == is_one


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("3,7", "3.7"), ("1,234", "1.234 or 1234"), ("-1.234,5", "-1234.5"), ("1,234.5", "1234.5"), ("0,125", "0.125"),
        ("1,234,567", "1234567"), ("10%", "10"), ("2,5 %", "2.5"), ("1,2,3", None), ("7", None), ("a%", None),
    ],
)  # fmt: skip
def test_plain_forms_of_numbers_with_commas_or_percent_signs(text, plain):
    assert plain_number(text) == plain


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2024-03-01", True), ("01.03.2024", True), ("3/1/2024", True), ("2024-03-01T10:15:00Z", True),
        ("2024-03-01 10:15:00.5+01:00", True), ("2024/03/01", True), ("1 March 2024", True), ("Mar 1, 2024", True),
        ("2024", False), ("1.5", False), ("1-2", False), ("10.000", False), ("3/4", False), ("level 1", False),
    ],
)  # fmt: skip
def test_dates_are_recognised(text, is_one):
    assert is_date(text) == is_one
