import math
from pathlib import Path

import pytest

from mbert_cli.errors import RecipeError
from mbert_cli.messages import nearest
from mbert_cli.recipe.document import MAX_BYTES, Document, dotted, override, parse, read_document


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "r.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


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
def test_scalars_are_what_they_look_like(text, value):
    found = values(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_float():
    assert math.isnan(values("key: .nan")["key"])


def test_keys_are_text_whatever_they_look_like():
    assert values("1: a\nno: b\ntrue: c\n~: d") == {"1": "a", "no": "b", "true": "c", "~": "d"}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n"])
def test_an_empty_text_is_an_empty_document(text):
    assert values(text) == {}


def test_every_value_knows_its_line():
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


def test_a_value_that_was_not_written_has_its_nearest_parents_place():
    document = parse("a: 1\nb:\n  c: 2\n", "r.yaml", Path.cwd())
    assert document.place(("b", "x", 0, "y")).text == "r.yaml:2"
    assert Document({}, {}, "r.yaml").place(("b",)).text == "r.yaml"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("adapters", 0, "rank"), "adapters[0].rank"),
        (("tasks", "sst"), "tasks.sst"),
        ((), ""),
        (("a", 1, 2), "a[1][2]"),
    ],
)
def test_paths_are_shown_as_people_write_them(path, text):
    assert dotted(path) == text


def test_nearest_offers_a_similar_name_only():
    assert nearest("lowrank", ["pal", "low_rank"]) == "; did you mean 'low_rank'? Known: low_rank, pal."
    assert nearest("zzz", ["pal", "low_rank"]) == ". Known: low_rank, pal."


def test_a_key_that_stands_twice_is_refused_with_both_lines():
    message = refusal("tasks:\n  sst:\n    train: a\n    dev: b\n    train: c\n")
    assert message.startswith("r.yaml:5: tasks.sst.train stands already on line 3")


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
def test_what_is_not_yaml_is_refused_at_its_line(text, place):
    message = refusal(text)
    assert message.startswith(place)
    assert "is not YAML" in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "12\n"])
def test_a_recipe_that_is_not_a_mapping_is_refused(text):
    assert refusal(text).startswith("r.yaml:1: must hold keys and values")


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
def test_tags_that_yaml_does_not_need_are_refused(tagged):
    assert refusal(f"a: 1\nb: {tagged}\n").startswith("r.yaml:2")


@pytest.mark.parametrize(
    "tagged", ["!!int x", "!!float x", "!!int ''", "!!float ''", "!!bool maybe", "!!timestamp soon", "!!binary ä"]
)
def test_a_value_that_does_not_fit_its_tag_is_refused(tagged):
    assert refusal(f"a: 1\nb: {tagged}\n").startswith("r.yaml:2")


@pytest.mark.parametrize("number", ["9" * 10_000, "9" * 400, "!!int 0x" + "f" * 9000, "-" + "1" * 4000])
def test_a_number_that_no_float_holds_is_refused(number):
    assert refusal(f"a: 1\nb: {number}").startswith("r.yaml:2: b is ")


@pytest.mark.parametrize("text", [r'b: "x\ud800"', r'b: [1, "\uDFFF"]', r'"x\ud800": 1'])
def test_half_a_surrogate_pair_is_refused(text):
    assert refusal(f"a: 1\n{text}").startswith("r.yaml:2: escapes one half of a surrogate pair")


def test_anchors_and_merges_are_laid_out():
    text = "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: *x\n"
    assert values(text) == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": {"a": 1, "b": 2}}


def test_an_alias_of_a_mapping_with_a_merge_is_laid_out():
    text = "x: &x {a: 1, b: 2}\ny: &y\n  <<: *x\n  b: 3\nz: *y\n"
    assert values(text)["z"] == {"a": 1, "b": 3}


def test_a_value_that_replaces_a_merged_one_has_its_own_line():
    document = parse("x: &x\n  a: {c: 1}\n  b: 2\ny:\n  <<: *x\n  a: {d: 1}\n", "r.yaml", Path.cwd())
    assert document.place(("y", "a")).text == "r.yaml:6"
    assert document.place(("y", "b")).text == "r.yaml:3"
    assert ("y", "a", "c") not in document.places


def test_a_merge_of_something_else_is_refused():
    assert refusal("x: 3\ny:\n  <<: 4\n").startswith("r.yaml:3")


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a\n  <<: *a\n  b: *a\n"])
def test_a_value_that_holds_itself_is_refused(text):
    assert "nested deeper than 20 levels" in refusal(text)


def test_values_that_multiply_through_anchors_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "holds too many values" in refusal("\n".join(lines))


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
    assert "holds too many values" in refusal(text)


def test_twenty_levels_are_read_and_one_more_is_refused():
    def nested(levels: int) -> str:
        return "".join(f"{'  ' * level}k:\n" for level in range(levels - 1)) + "  " * (levels - 1) + "k: 1\n"

    value = values(nested(20))
    for _ in range(20):
        value = value["k"]
    assert value == 1
    assert refusal(nested(21)).startswith("r.yaml:21: is nested deeper than 20 levels")


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{a: " * 5000, "- " * 5000])
def test_nesting_without_end_is_refused(text):
    assert "nested deeper than 20 levels" in refusal(text)


def test_keys_that_are_no_words_are_refused():
    assert refusal("a: 1\n? [b]\n: 2\n").startswith("r.yaml:2: a key must be a plain word")


@pytest.mark.parametrize("character", ["\x07", "\x00", "\ufffe"])
def test_an_unprintable_character_is_named_with_its_line(character):
    assert refusal(f"a: 1\nb: x{character}y\n") == f"r.yaml:2: holds the unprintable character #x{ord(character):04x}."


def test_a_byte_order_mark_is_no_part_of_the_first_key(write):
    assert read_document(write(b"\xef\xbb\xbfa: 1\n")).values == {"a": 1}


def test_crlf_line_ends_are_read_and_counted(write):
    document = read_document(write(b"a: 1\r\nb: 2\r\n"), "r.yaml")
    assert document.values == {"a": 1, "b": 2}
    assert document.place(("b",)).text == "r.yaml:2"


def test_a_file_that_is_not_utf8_is_refused_with_line_and_byte(write):
    with pytest.raises(RecipeError, match=r"^r.yaml:2: is not UTF-8 \(byte 8\)"):
        read_document(write(b"a: 1\nb: \xe4\n"), "r.yaml")


def test_a_file_above_one_mebibyte_is_refused(write):
    with pytest.raises(RecipeError, match=r"^r.yaml: is larger than 1 MiB"):
        read_document(write(b"#" * (MAX_BYTES + 1)), "r.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"^r.yaml: cannot be read \(No such file"):
        read_document(tmp_path / "r.yaml", "r.yaml")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"^here: is a folder"):
        read_document(tmp_path, "here")


def test_messages_name_the_file_as_the_user_did(write, monkeypatch):
    path = write("- a\n", "sub/r.yaml")
    monkeypatch.chdir(path.parent.parent)
    with pytest.raises(RecipeError, match=r"^sub/r.yaml:1: "):
        read_document(Path("sub/r.yaml"))


# extends


def test_a_child_changes_only_what_it_says(write):
    write("a: 1\nm: {x: 1, y: {z: 2, w: 3}}\nl: [1, 2, 3]\n", "parent.yaml")
    child = write("extends: parent.yaml\nm: {y: {z: 9}, n: 4}\nl: [7]\n", "child.yaml")
    assert read_document(child).values == {"a": 1, "m": {"x": 1, "y": {"z": 9, "w": 3}, "n": 4}, "l": [7]}


def test_each_value_has_the_place_of_the_file_that_wrote_it(write):
    write("a: 1\nm:\n  x: 1\n  y: 2\n", "deep/parent.yaml")
    child = write("extends: deep/parent.yaml\nm:\n  y: 3\n", "child.yaml")
    document = read_document(child, "child.yaml")
    assert document.place(("a",)).text == "deep/parent.yaml:1"
    assert document.place(("m", "x")).text == "deep/parent.yaml:3"
    assert document.place(("m", "y")).text == "child.yaml:3"
    assert document.place(("a",)).folder == child.parent / "deep"
    assert document.place(("m", "y")).folder == child.parent


def test_extending_goes_on_through_several_files(write):
    write("a: 1\nb: 1\nc: 1\n", "one.yaml")
    write("extends: one.yaml\nb: 2\nc: 2\n", "two.yaml")
    assert read_document(write("extends: two.yaml\nc: 3\n")).values == {"a": 1, "b": 2, "c": 3}


def test_another_kind_replaces_the_whole_section(write):
    write("pooling: {kind: cls, pooler: true}\ncurriculum: {kind: hybrid, match: smallest}\n", "parent.yaml")
    child = write("extends: parent.yaml\npooling: {kind: mean}\ncurriculum: {kind: hybrid}\n", "child.yaml")
    document = read_document(child, "child.yaml")
    assert document.values == {"pooling": {"kind": "mean"}, "curriculum": {"kind": "hybrid", "match": "smallest"}}
    assert ("pooling", "pooler") not in document.places


def test_a_section_without_kind_changes_options_of_the_kind_it_has(write):
    write("pooling: {kind: cls, pooler: true}\n", "parent.yaml")
    child = write("extends: parent.yaml\npooling: {pooler: false}\n", "child.yaml")
    assert read_document(child).values == {"pooling": {"kind": "cls", "pooler": False}}


def test_null_removes_a_task(write):
    write("tasks: {sst: {train: a}, sts: {train: b}}\n", "parent.yaml")
    child = write("extends: parent.yaml\ntasks: {sst: null}\n", "child.yaml")
    assert read_document(child).values == {"tasks": {"sts": {"train": "b"}}}


def test_a_component_given_by_name_alone_is_spelled_out(write):
    text = "pooling: max\nadapters: [top, {kind: low_rank}]\ntasks: {sst: {head: classification, text: x}}\n"
    assert read_document(write(text)).values == {
        "pooling": {"kind": "max"},
        "adapters": [{"kind": "top"}, {"kind": "low_rank"}],
        "tasks": {"sst": {"head": {"kind": "classification"}, "text": "x"}},
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"r.yaml": "extends: r.yaml\n"}, "r.yaml: extends itself, by way of r.yaml"),
        ({"r.yaml": "extends: b.yaml\n", "b.yaml": "extends: r.yaml\n"}, "r.yaml: extends itself, by way of b.yaml"),
        ({"r.yaml": "a: 1\nextends: no.yaml\n"}, "r.yaml:2: extends 'no.yaml', but there is no such file"),
        ({"r.yaml": "a: 1\nextends: [b.yaml]\n"}, "r.yaml:2: extends must be the name of a recipe file"),
        ({"r.yaml": "a: 1\nextends: .\n"}, "r.yaml:2: extends '.', but there is no such file"),
        ({"r.yaml": "extends: b.yaml\n", "b.yaml": "a: 1\na: 2\n"}, "b.yaml:2: a stands already on line 1"),
    ],
)
def test_a_parent_that_cannot_be_read_is_named(write, files, message):
    for name, text in files.items():
        path = write(text, name)
    with pytest.raises(RecipeError) as error:
        read_document(path.with_name("r.yaml"), "r.yaml")
    assert str(error.value).startswith(message)


def test_a_parents_name_that_is_too_long_for_the_disk_is_refused(write):
    with pytest.raises(RecipeError, match=r"^r.yaml:1: "):
        read_document(write(f"extends: {'x' * 5000}\n"), "r.yaml")


# overrides


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


def test_later_overrides_win():
    assert overridden("", "a=1", "a=2").values == {"a": 2}


def test_an_override_is_its_own_place_and_relative_to_the_working_folder(tmp_path, monkeypatch):
    document = parse("a: {b: 1, c: 2}\n", "r.yaml", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    override(document, ["a.b=x"])
    assert document.place(("a", "b")).text == "'a.b=x'"
    assert document.place(("a", "b")).folder == tmp_path
    assert document.place(("a", "c")).text == "r.yaml:1"
    assert document.place(("a", "c")).folder == tmp_path / "recipes"


@pytest.mark.parametrize(
    "setting", ["epochs", "=3", "a..b=3", ".a=3", "a.=3", "a[x]=3", "a[-1]=3", "a[0=3", "a b=3", "a[]=3", ""]
)
def test_a_malformed_override_is_refused(setting):
    with pytest.raises(RecipeError, match="an override reads key=value"):
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
def test_an_override_that_is_not_yaml_is_refused_by_name(setting):
    with pytest.raises(RecipeError) as error:
        overridden("", setting)
    assert str(error.value).startswith("'" + setting.replace("\x07", r"\x07") + "'")


def test_an_override_of_a_value_that_lies_deeper_than_any_is_refused():
    with pytest.raises(RecipeError, match="is nested deeper than 20 levels"):
        overridden("", ".".join(["a"] * 5000) + "=1")


def test_an_override_of_more_than_one_value_is_refused():
    with pytest.raises(RecipeError):
        overridden("", "a=1\nb: 2")


def test_a_key_of_digits_is_a_name_where_the_recipe_has_names():
    assert overridden("tasks: {2020: {train: a}}\n", "tasks.2020.train=b").values == {"tasks": {"2020": {"train": "b"}}}


def test_an_odd_digit_is_no_index():
    with pytest.raises(RecipeError):
        overridden("a: [1, 2, 3]\n", "a.\u00b2=3")


def test_a_list_below_an_item_of_a_list_can_be_reached():
    assert overridden("l: [{m: [1, 2]}]\n", "l[0].m[1]=5").values == {"l": [{"m": [1, 5]}]}


def test_items_beside_an_overridden_one_keep_their_place():
    document = overridden("l:\n  - {rank: 1}\n  - {rank: 2}\n", "l[1].rank=5")
    assert document.place(("l", 0, "rank")).text == "r.yaml:2"
    assert document.place(("l", 1, "rank")).text == "'l[1].rank=5'"


def test_a_message_on_an_unknown_name_stays_short():
    many = [f"column{i:03}" for i in range(200)] + ["x" * 100_000]
    said = nearest("colum007", many)
    assert said.startswith("; did you mean 'column007'? Known: column000, ")
    assert said.endswith(" and 161 more.")
    assert len(nearest("y" * 100_000, ["x" * 100_000, "id"])) < 200
