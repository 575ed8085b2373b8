"""Every colour of figures and pages is in colours.py."""

import ast
import re
from pathlib import Path

import pytest
from matplotlib.colors import is_color_like

from mbert_cli import reports

FOLDER = Path(reports.__file__).parent
MODULES = sorted(each for each in FOLDER.glob("*.py") if each.name != "colours.py")
TEMPLATES = sorted(FOLDER.glob("templates/*"))
NO_COLOURS = {"none", "inherit", "transparent", "currentcolor"}
CSS = re.compile(
    r"""\#[0-9a-f]{3,8}\b | \b(?:rgb|hsl)a?\( | \b(?:color|fill|stroke|background)(?:\s*:\s*|=")([a-z]+)\b(?![-(])""",
    re.VERBOSE,
)


def texts(node):
    return [each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def colours_of_python(source):
    """Return the colours in Python source. A single letter counts only as the value of a colour argument."""
    tree = ast.parse(source)
    colours = [text for text in texts(tree) if len(text) > 1]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and re.search("colou?rs?$", node.arg or ""):
            colours += texts(node.value)
    return {text for text in colours if text not in NO_COLOURS and is_color_like(text)}


def colours_of_template(source):
    return {match[0] for match in CSS.finditer(source.lower()) if match[1] not in NO_COLOURS}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_other_modules_have_no_colours(path):
    assert colours_of_python(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_refer_to_colours_by_their_names(path):
    assert colours_of_template(path.read_text(encoding="utf-8")) == set()


def test_colours_are_recognised():
    source = 'f(x, color="k", edgecolors="white", style={"color": "#aabbcc"}, axis="y", markerfacecolor="none")'
    assert colours_of_python(source) == {"k", "white", "#aabbcc"}
    assert len(colours_of_python((FOLDER / "colours.py").read_text(encoding="utf-8"))) > 40
    css = 'a {color: red; fill:#fff; stroke: var(--c0); background: color-mix(x)} <b stroke="none" fill="blue">'
    assert colours_of_template(css) == {"color: red", "#fff", 'fill="blue'}
