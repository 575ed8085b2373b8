import pytest

from mbert_cli.recipe.budget import parameters_within


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("1.13x", 13_000),
        ("1.13 x", 13_000),
        ("2x", 100_000),
        ("5%", 5_000),
        ("0.29%", 290),
        ("100%", 100_000),
        ("250%", 250_000),
        ("2M", 2_000_000),
        ("1.5M", 1_500_000),
        ("300k", 300_000),
        ("300K", 300_000),
        ("1G", 1_000_000_000),
        ("7", 7),
        (7, 7),
        (" 5% ", 5_000),
    ],
)
def test_a_budget_is_a_multiple_a_percentage_or_a_number(budget, expected):
    assert parameters_within(budget, encoder=100_000) == expected


def test_shares_are_exact():
    # In binary floating point, 1.13 - 1 is less than .13, and 29 * 1.1 is greater than 31.9.
    assert parameters_within("1.13x", encoder=100) == 13
    assert parameters_within("0.1%", encoder=29_000) == 29


def test_fractions_of_a_parameter_are_rounded_down():
    assert parameters_within("5%", encoder=39) == 1


@pytest.mark.parametrize(
    "budget",
    ["1x", "0.9x", "0%", "0", "-5%", "5 %%", "x", "%", "", "M", "1e6", "5percent", "1,5M", True, [1], "\u0665%"],
)
def test_other_forms_are_refused(budget):
    with pytest.raises(ValueError, match="^must be a multiple of the encoder"):
        parameters_within(budget, encoder=100_000)
