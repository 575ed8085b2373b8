from pathlib import Path

import pytest

from mbert_cli.recipe.document import Document, dotted
from mbert_cli.recipe.yaml_text import parse


def test_a_value_that_was_not_written_has_the_place_of_its_nearest_parent():
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
def test_dotted_paths(path, text):
    assert dotted(path) == text
