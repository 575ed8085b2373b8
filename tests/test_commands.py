import subprocess
import sys

import pytest
from typer.exceptions import TyperException
from typer.main import get_command

from mbert_cli.cli import app
from mbert_cli.commands.mistakes import mistake


def all_commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(all_commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_begins_with_two_examples_of_it(name):
    summary, examples, *_ = COMMANDS[name].help.split("\n\n")
    assert summary
    lines = examples.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("$ ") and f"mbert {name}" in line for line in lines)
    assert all(len(line) <= 58 for line in lines), "does not fit a terminal of 60 columns"


@pytest.mark.parametrize("name", COMMANDS)
def test_options_that_examples_name_exist(name):
    known = {option for each in COMMANDS[name].params for option in (*each.opts, *each.secondary_opts)}
    used = {word for word in COMMANDS[name].help.split("\n\n")[1].split() if word.startswith("-") and word != "-"}
    assert used <= known


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian", "mbert: no such command 'trian'. Did you mean 'train'? See mbert -h."),
        ("recipes list", "mbert recipes: no such command 'list'."),
        ("train --ouptut x", "mbert train: there is no option --ouptut; did you mean '--output'?"),
        (
            "train --epochs 3",
            "mbert train: there is no option --epochs; what a recipe says is overridden by KEY=VALUE: ",
        ),
        ("train --lr 3", "training.learning_rate="),
        ("evaluate x --split dve", "mbert evaluate: invalid value for '--split': 'dve' is not one of 'train', "),
        ("evaluate x --limit a", "mbert evaluate: invalid value for '--limit': must be a whole number."),
        ("evaluate x --limit 0", "invalid value for '--limit': must be greater than or equal to 1."),
        ("predict", "mbert predict: missing argument 'RUN'. See mbert predict -h."),
        ("evaluate x -o", "option '-o' requires an argument."),
    ],
)
def test_a_mistake_on_the_command_line_is_told_in_one_line(words, said):
    with pytest.raises(TyperException) as refusal:
        app(words.split(), prog_name="mbert", standalone_mode=False)
    told = mistake(refusal.value)
    assert said in told
    assert len(told.splitlines()) == 1


def test_a_refused_command_line_exits_with_2_and_says_nothing_else(tmp_path):
    command = [sys.executable, "-m", "mbert_cli.cli", "train", "--ouptut", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def completed(words, tmp_path, shell="bash"):
    """Return what a shell would offer at the end of a command line."""
    environment = {"_MBERT_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv = ['mbert']; from mbert_cli.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={"PATH": "", **environment}
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mbert tr", ["train"]),
        ("mbert train --outp", ["--output"]),
        ("mbert train de", ["demo"]),
        ("mbert train mi", ["mine.yaml"]),
        ("mbert sweep eq", ["equal_budgets_minilm"]),
        ("mbert recipes cat paper/table2", ["paper/table2_cls", "paper/table2_mean"]),
    ],
)
def test_shells_complete_commands_options_and_recipes(words, offered, tmp_path):
    (tmp_path / "mine.yaml").touch()
    assert completed(words, tmp_path) == offered


def test_what_libraries_warn_of_does_not_reach_the_terminal(tmp_path):
    code = (
        "import sys, warnings, mbert_cli.commands.info as info\n"
        "def facts(): warnings.warn('for programmers'); return {'torch': '1'}\n"
        "info.facts = facts; sys.argv = ['mbert', 'info', '--json']\n"
        "from mbert_cli.cli import main; main()"
    )
    quiet, loud = (
        subprocess.run([sys.executable, *flags, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        for flags in ([], ["-W", "default"])
    )
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert "for programmers" in loud.stderr


def test_help_shows_brackets():
    from rich.markup import render

    from mbert_cli.commands.embed import embed
    from mbert_cli.commands.help import help_text

    assert "(extra [parquet])" in render(help_text(embed)).plain
