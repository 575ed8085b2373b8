from pathlib import Path

import pytest

from mbert_cli.errors import RecipeError
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.overrides import override
from mbert_cli.recipe.yaml_text import parse


def overridden(text: str, *settings: str) -> Document:
    document = parse(text, "r.yaml", Path.cwd())
    override(document, settings)
    return document


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.epochs=3", {"training": {"epochs": 3, "seed": 1}, "l": [{"kind": "a", "rank": 1}, {"kind": "b"}]}),
        ("l[0].rank=8", {"training": {"seed": 1}, "l": [{"kind": "a", "rank": 8}, {"kind": "b"}]}),
        ("l[1].kind=c", {"training": {"seed": 1}, "l": [{"kind": "a", "rank": 1}, {"kind": "c"}]}),
        ("l[0].kind=c", {"training": {"seed": 1}, "l": [{"kind": "c"}, {"kind": "b"}]}),
        ("l=[]", {"training": {"seed": 1}, "l": []}),
        ("training=null", {"l": [{"kind": "a", "rank": 1}, {"kind": "b"}]}),
        ("new.deep.key=x", {"training": {"seed": 1}, "l": [{"kind": "a", "rank": 1}, {"kind": "b"}],
                            "new": {"deep": {"key": "x"}}}),
    ],
)  # fmt: skip
def test_an_override_changes_one_value(setting, expected):
    assert overridden("training: {seed: 1}\nl: [{kind: a, rank: 1}, {kind: b}]\n", setting).values == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("[a, b]", ["a", "b"]),
        ("{a: 1}", {"a": 1}),
        ("no", "no"),
        ("", None),
        ("a=b", "a=b"),
        ("#2 ID", "#2 ID"),
        ("C #", "C #"),
        ("1 # a", "1 # a"),
        ("[#1 String, '#2 String']", ["#1 String", "#2 String"]),
        ('{#a: "#b"}', {"#a": "#b"}),
        ("'3'", "3"),
    ],
)
def test_the_value_of_an_override_is_yaml(text, value):
    assert overridden("a: 1\n", f"key={text}").values == {"a": 1, "key": value}


def test_the_last_override_wins():
    assert overridden("", "a=1", "a=2").values == {"a": 2}


def test_an_override_is_its_own_place_and_its_paths_refer_to_the_working_folder(tmp_path, monkeypatch):
    document = parse("a: {b: 1, c: 2}\n", "r.yaml", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    override(document, ["a.b=x"])
    assert document.place(("a", "b")).text == "'a.b=x'"
    assert document.place(("a", "b")).folder == tmp_path
    assert document.place(("a", "c")).text == "r.yaml:1"
    assert document.place(("a", "c")).folder == tmp_path / "recipes"


@pytest.mark.parametrize(
    "setting",
    [
        "epochs",
        "=3",
        "a..b=3",
        ".a=3",
        "a.=3",
        "a[x]=3",
        "a[-1]=3",
        "a[0=3",
        "a b=3",
        "a[]=3",
        "",
        f"a[{'1' * 5000}]=3",
    ],
)
def test_a_malformed_override_is_refused(setting):
    with pytest.raises(RecipeError, match="an override has the form key=value"):
        overridden("a: [1]\n", setting)


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("l[2]=3", "l has 2 items, so there is no l[2]"),
        ("a[0]=3", "a is not a list, so there is no a[0]"),
        ("none[0]=3", "none is not a list, so there is no none[0]"),
        ("m.x[0]=3", "m.x is not a list, so there is no m.x[0]"),
    ],
)
def test_an_index_beyond_the_list_is_refused(setting, what):
    with pytest.raises(RecipeError) as error:
        overridden("a: 1\nl: [1, 2]\nm: {x: y}\n", setting)
    assert str(error.value).startswith(f"'{setting}': {what}")


@pytest.mark.parametrize("setting", ["a=[1", "a={b", "a='x", "a=b: c", "a=!!python/name:os.system", "a=\x07"])
def test_an_override_that_is_not_yaml_is_refused_with_the_whole_setting(setting):
    with pytest.raises(RecipeError) as error:
        overridden("", setting)
    assert str(error.value).startswith("'" + setting.replace("\x07", r"\x07") + "'")


def test_an_override_that_is_too_deep_is_refused():
    with pytest.raises(RecipeError, match="is nested deeper than 20 levels"):
        overridden("", ".".join(["a"] * 5000) + "=1")


def test_an_override_of_more_than_one_value_is_refused():
    with pytest.raises(RecipeError):
        overridden("", "a=1\nb: 2")


def test_a_key_of_digits_is_the_name_of_a_task():
    assert overridden("tasks: {2020: {train: a}}\n", "tasks.2020.train=b").values == {"tasks": {"2020": {"train": "b"}}}


def test_a_superscript_digit_is_not_an_index():
    with pytest.raises(RecipeError):
        overridden("a: [1, 2, 3]\n", "a.\u00b2=3")


def test_an_override_can_change_a_list_in_an_item_of_a_list():
    assert overridden("l: [{m: [1, 2]}]\n", "l[0].m[1]=5").values == {"l": [{"m": [1, 5]}]}


def test_items_next_to_an_overridden_item_keep_their_places():
    document = overridden("l:\n  - {rank: 1}\n  - {rank: 2}\n", "l[1].rank=5")
    assert document.place(("l", 0, "rank")).text == "r.yaml:2"
    assert document.place(("l", 1, "rank")).text == "'l[1].rank=5'"
