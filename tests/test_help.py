"""The help of every command, on terminals of several widths."""

import os
import re
import subprocess
import sys

import pytest
from rich.markup import render
from typer.main import get_command

from mbert_cli.cli import app
from mbert_cli.commands.embed import embed
from mbert_cli.commands.help_text import help_text

_LINES = re.compile(r"[│╭╮╰╯─]+")
_PRINT_HELP = """
import sys
from mbert_cli.commands.app import app
for command in sys.argv[1:]:
    print("\\f" + command)
    app([*command.split(), "--help"], prog_name="mbert", standalone_mode=False)
"""


def all_commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(all_commands(get_command(app)))
GROUPS = ("", "recipes", "tasks")


def helps_at(width):
    """Return the help of all commands and groups on a terminal of some width."""
    names = [*GROUPS, *COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_HELP, *names],
        env={**os.environ, "COLUMNS": str(width)},
        capture_output=True,
        text=True,
        check=True,
    )
    texts = (text.partition("\n")[2] for text in done.stdout.split("\f")[1:])
    return dict(zip(names, texts, strict=True))


@pytest.fixture(scope="module")
def wide_helps():
    return helps_at(200)


def words_of(text):
    """Return the words of a help text, without its lines, brackets and punctuation."""
    return {word.strip("[](){}.,;:") for word in _LINES.sub(" ", text).split()}


def pieces_of(words):
    """Return the words, with words that have hyphens split at them: a line may end there."""
    return {piece for word in words for piece in word.split("-")}


@pytest.mark.parametrize("width", [40, 60, 80])
def test_help_does_not_cut_words(width, wide_helps):
    for name, text in helps_at(width).items():
        words, wide = words_of(text), words_of(wide_helps[name])
        assert pieces_of(words) <= pieces_of(wide), name
        assert {word for word in wide if word.startswith("--")} <= words, name


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_of_help_fit_the_terminal_except_examples(width):
    for name, text in helps_at(width).items():
        lines = [line for line in text.splitlines() if not line.strip(" │").startswith("$ ")]
        assert max(map(len, lines)) <= width, name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_begins_with_two_examples_of_it(name):
    summary, examples, *_ = COMMANDS[name].help.split("\n\n")
    assert summary
    lines = examples.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("$ ") and f"mbert {name}" in line for line in lines)
    assert all(len(line) <= 58 for line in lines), "does not fit a terminal of 60 columns"


@pytest.mark.parametrize("name", COMMANDS)
def test_options_in_examples_exist(name):
    options = {option for each in COMMANDS[name].params for option in (*each.opts, *each.secondary_opts)}
    used = {word for word in COMMANDS[name].help.split("\n\n")[1].split() if word.startswith("-") and word != "-"}
    assert used <= options


def test_help_shows_brackets():
    assert "(extra [parquet])" in render(help_text(embed)).plain
