from pathlib import Path

import pytest

from mbert_cli.errors import RecipeError
from mbert_cli.recipe.limits import MAX_BYTES
from mbert_cli.recipe.recipe_file import read_document


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "r.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_a_byte_order_mark_is_not_part_of_the_first_key(write):
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


def test_a_child_changes_only_the_values_that_it_names(write):
    write("a: 1\nm: {x: 1, y: {z: 2, w: 3}}\nl: [1, 2, 3]\n", "parent.yaml")
    child = write("extends: parent.yaml\nm: {y: {z: 9}, n: 4}\nl: [7]\n", "child.yaml")
    assert read_document(child).values == {"a": 1, "m": {"x": 1, "y": {"z": 9, "w": 3}, "n": 4}, "l": [7]}


def test_each_value_has_its_place_in_the_file_that_sets_it(write):
    write("a: 1\nm:\n  x: 1\n  y: 2\n", "deep/parent.yaml")
    child = write("extends: deep/parent.yaml\nm:\n  y: 3\n", "child.yaml")
    document = read_document(child, "child.yaml")
    assert document.place(("a",)).text == "deep/parent.yaml:1"
    assert document.place(("m", "x")).text == "deep/parent.yaml:3"
    assert document.place(("m", "y")).text == "child.yaml:3"
    assert document.place(("a",)).folder == child.parent / "deep"
    assert document.place(("m", "y")).folder == child.parent


def test_a_parent_may_extend_another_file(write):
    write("a: 1\nb: 1\nc: 1\n", "one.yaml")
    write("extends: one.yaml\nb: 2\nc: 2\n", "two.yaml")
    assert read_document(write("extends: two.yaml\nc: 3\n")).values == {"a": 1, "b": 2, "c": 3}


def test_another_kind_replaces_the_whole_section(write):
    write("pooling: {kind: cls, pooler: true}\ncurriculum: {kind: hybrid, match: smallest}\n", "parent.yaml")
    child = write("extends: parent.yaml\npooling: {kind: mean}\ncurriculum: {kind: hybrid}\n", "child.yaml")
    document = read_document(child, "child.yaml")
    assert document.values == {"pooling": {"kind": "mean"}, "curriculum": {"kind": "hybrid", "match": "smallest"}}
    assert ("pooling", "pooler") not in document.places


def test_a_section_without_a_kind_changes_options_of_the_parents_kind(write):
    write("pooling: {kind: cls, pooler: true}\n", "parent.yaml")
    child = write("extends: parent.yaml\npooling: {pooler: false}\n", "child.yaml")
    assert read_document(child).values == {"pooling": {"kind": "cls", "pooler": False}}


def test_null_removes_a_task(write):
    write("tasks: {sst: {train: a}, sts: {train: b}}\n", "parent.yaml")
    child = write("extends: parent.yaml\ntasks: {sst: null}\n", "child.yaml")
    assert read_document(child).values == {"tasks": {"sts": {"train": "b"}}}


def test_a_component_given_as_a_name_is_expanded(write):
    text = "pooling: max\nadapters: [top, {kind: low_rank}]\ntasks: {sst: {head: classification, text: x}}\n"
    assert read_document(write(text)).values == {
        "pooling": {"kind": "max"},
        "adapters": [{"kind": "top"}, {"kind": "low_rank"}],
        "tasks": {"sst": {"head": {"kind": "classification"}, "text": "x"}},
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"r.yaml": "extends: r.yaml\n"}, "r.yaml: extends itself through r.yaml"),
        ({"r.yaml": "extends: b.yaml\n", "b.yaml": "extends: r.yaml\n"}, "r.yaml: extends itself through b.yaml"),
        ({"r.yaml": "a: 1\nextends: no.yaml\n"}, "r.yaml:2: extends 'no.yaml', but there is no such file"),
        ({"r.yaml": "a: 1\nextends: [b.yaml]\n"}, "r.yaml:2: extends must be the name of a recipe file"),
        ({"r.yaml": "a: 1\nextends: .\n"}, "r.yaml:2: extends '.', but there is no such file"),
        ({"r.yaml": "extends: b.yaml\n", "b.yaml": "a: 1\na: 2\n"}, "b.yaml:2: a is already defined on line 1"),
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
