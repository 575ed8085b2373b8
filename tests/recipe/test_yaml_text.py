import math
from pathlib import Path

import pytest

from mbert_cli.errors import RecipeError
from mbert_cli.recipe.document import dotted
from mbert_cli.recipe.yaml_text import parse


def values(text: str) -> dict:
    return parse(text, "r.yaml", Path.cwd()).values


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as error:
        values(text)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("2E3", 2000.0),
        ("-1.5e+2", -150.0),
        (".5", 0.5),
        ("3.", 3.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("12", 12),
        ("-7", -7),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("1:2:3.5", "1:2:3.5"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2020-01-02", "2020-01-02"),
        ("=", "="),
        ("1e", "1e"),
        ("e5", "e5"),
        ("nullable", "nullable"),
        ("trueish", "trueish"),
        ("'1e-5'", "1e-5"),
        ('"true"', "true"),
        ("!!str 12", "12"),
    ],
)
def test_plain_scalars_have_the_types_of_the_core_schema(text, value):
    found = values(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_float():
    assert math.isnan(values("key: .nan")["key"])


def test_keys_are_always_strings():
    assert values("1: a\nno: b\ntrue: c\n~: d") == {"1": "a", "no": "b", "true": "c", "~": "d"}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_text_is_an_empty_document(text):
    assert values(text) == {}


def test_each_value_has_the_line_where_it_was_written():
    document = parse("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "r.yaml", Path.cwd())
    lines = {dotted(path): place.text for path, place in document.places.items() if path}
    assert lines == {
        "a": "r.yaml:1",
        "b": "r.yaml:2",
        "b[0]": "r.yaml:3",
        "b[1]": "r.yaml:4",
        "b[1].c": "r.yaml:4",
        "b[1].d": "r.yaml:5",
    }


def test_a_duplicate_key_is_refused_with_both_lines():
    message = refusal("tasks:\n  sst:\n    train: a\n    dev: b\n    train: c\n")
    assert message.startswith("r.yaml:5: tasks.sst.train is already defined on line 3")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb:\n\t- c\n", "r.yaml:3"),
        ("a:\n\tb: 1\n", "r.yaml:2"),
    ],
)
def test_a_tab_is_refused_with_the_advice_to_use_spaces(text, place):
    message = refusal(text)
    assert message.startswith(place)
    assert "Indent with spaces, not tabs." in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3\n", "r.yaml:2"),
        ("a: 1\n  b: 2\n", "r.yaml:2"),
        ("a: 'open\n", "r.yaml"),
        ("a: 1\n--- \nb: 2\n", "r.yaml:2"),
        ("a: *nowhere\n", "r.yaml:1"),
        ("a: 1\nb: }\n", "r.yaml:2"),
    ],
)
def test_invalid_yaml_is_refused_with_its_line(text, place):
    message = refusal(text)
    assert message.startswith(place)
    assert "is not YAML" in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "12\n"])
def test_a_recipe_that_is_not_a_mapping_is_refused(text):
    assert refusal(text).startswith("r.yaml:1: must contain keys and values")


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "!!python/object:os.Mapping {a: 1}",
        "!custom 1",
        "!custom {a: 1}",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
    ],
)
def test_tags_outside_the_core_schema_are_refused(tagged):
    assert refusal(f"a: 1\nb: {tagged}\n").startswith("r.yaml:2")


@pytest.mark.parametrize(
    "tagged", ["!!int x", "!!float x", "!!int ''", "!!float ''", "!!bool maybe", "!!timestamp soon", "!!binary ä"]
)
def test_a_value_that_does_not_fit_its_tag_is_refused(tagged):
    assert refusal(f"a: 1\nb: {tagged}\n").startswith("r.yaml:2")


@pytest.mark.parametrize("number", ["9" * 10_000, "9" * 400, "!!int 0x" + "f" * 9000, "-" + "1" * 4000])
def test_a_whole_number_larger_than_any_float_is_refused(number):
    assert refusal(f"a: 1\nb: {number}").startswith("r.yaml:2: b is ")


@pytest.mark.parametrize("text", [r'b: "x\ud800"', r'b: [1, "\uDFFF"]', r'"x\ud800": 1'])
def test_half_a_surrogate_pair_is_refused(text):
    assert refusal(f"a: 1\n{text}").startswith("r.yaml:2: escapes one half of a surrogate pair")


def test_anchors_and_merges_are_expanded():
    text = "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: *x\n"
    assert values(text) == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": {"a": 1, "b": 2}}


def test_an_alias_of_a_mapping_with_a_merge_is_expanded():
    text = "x: &x {a: 1, b: 2}\ny: &y\n  <<: *x\n  b: 3\nz: *y\n"
    assert values(text)["z"] == {"a": 1, "b": 3}


def test_a_value_that_replaces_a_merged_one_has_its_own_line():
    document = parse("x: &x\n  a: {c: 1}\n  b: 2\ny:\n  <<: *x\n  a: {d: 1}\n", "r.yaml", Path.cwd())
    assert document.place(("y", "a")).text == "r.yaml:6"
    assert document.place(("y", "b")).text == "r.yaml:3"
    assert ("y", "a", "c") not in document.places


def test_a_merge_of_a_scalar_is_refused():
    assert refusal("x: 3\ny:\n  <<: 4\n").startswith("r.yaml:3")


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a\n  <<: *a\n  b: *a\n"])
def test_a_value_that_contains_itself_is_refused(text):
    assert "nested deeper than 20 levels" in refusal(text)


def test_values_that_multiply_through_anchors_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "contains too many values" in refusal("\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 50))]),
        "a: "
        + "".join(f"{{<<: [&a{i} " for i in range(50))
        + "{x: 1}"
        + "".join(f", *a{49 - i}]}}" for i in range(50)),
    ],
)
def test_values_that_multiply_through_merges_are_refused(text):
    assert "contains too many values" in refusal(text)


def test_twenty_levels_are_read_and_one_more_is_refused():
    def nested(levels: int) -> str:
        return "".join(f"{'  ' * level}k:\n" for level in range(levels - 1)) + "  " * (levels - 1) + "k: 1\n"

    value = values(nested(20))
    for _ in range(20):
        value = value["k"]
    assert value == 1
    assert refusal(nested(21)).startswith("r.yaml:21: is nested deeper than 20 levels")


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{a: " * 5000, "- " * 5000])
def test_very_deep_nesting_is_refused(text):
    assert "nested deeper than 20 levels" in refusal(text)


def test_keys_that_are_not_scalars_are_refused():
    assert refusal("a: 1\n? [b]\n: 2\n").startswith("r.yaml:2: a key must be a plain word")


@pytest.mark.parametrize("character", ["\x07", "\x00", "\ufffe"])
def test_an_unprintable_character_is_named_with_its_line(character):
    assert (
        refusal(f"a: 1\nb: x{character}y\n") == f"r.yaml:2: contains the unprintable character #x{ord(character):04x}."
    )
