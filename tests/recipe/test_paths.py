import pytest

from mbert_cli.recipe.paths import expand


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}/x", "one/x"),
        ("${A}${A}", "oneone"),
        ("${UNSET:-data}/x", "data/x"),
        ("${UNSET:-}", ""),
        ("${A:-data}", "one"),
        ("${EMPTY:-data}", "data"),
        ("$A {A} $", "$A {A} $"),
    ],
)
def test_variables_are_expanded_as_in_a_shell(monkeypatch, text, expanded):
    monkeypatch.setenv("A", "one")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    assert expand(text) == expanded


def test_a_variable_that_is_not_set_raises(monkeypatch):
    monkeypatch.delenv("UNSET", raising=False)
    with pytest.raises(KeyError, match="UNSET"):
        expand("x/${UNSET}")
