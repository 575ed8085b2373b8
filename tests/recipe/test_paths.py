import pytest

from mbert_cli.recipe.paths import expand, relative_path, resolve_path


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


def test_a_relative_path_leads_back_to_the_file_from_a_linked_folder(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    monkeypatch.chdir(tmp_path)
    written = relative_path("data/a.tsv", tmp_path / "link")
    assert written == "../../data/a.tsv"
    assert resolve_path(written, (tmp_path / "link").resolve()) == str(tmp_path / "data" / "a.tsv")
