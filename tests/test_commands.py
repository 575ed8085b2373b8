import subprocess
import sys
from typing import Literal, get_args, get_origin

import pytest
from commands import mbert
from typer.exceptions import TyperException

from mbert_cli import calibration
from mbert_cli.cli import app
from mbert_cli.commands import evaluate, options
from mbert_cli.commands.mistakes import mistake
from mbert_cli.data import csv_rows, delimiter
from mbert_cli.recipe.sections import TaskSection


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "mbert: No such command 'trian'. Did you mean 'train'? See mbert -h."),
        ("recipes lst", "mbert recipes: No such command 'lst'. Did you mean 'ls'? See mbert recipes -h."),
        (
            "train --ouptut x",
            "mbert train: there is no option --ouptut; did you mean '--output'? Run `mbert train -h` to list them all.",
        ),
        (
            "compare a b --split test",
            "mbert compare: there is no option --split; to compare other rows, write --data TASK=FILE.",
        ),
        (
            "predict a b --split test",
            "mbert predict: there is no option --split. Run `mbert predict -h` to list them all.",
        ),
        (
            "train --epochs 3",
            "mbert train: there is no option --epochs; to override a value of the recipe, write KEY=VALUE: "
            "training.epochs=...",
        ),
        (
            "train --lr 3",
            "mbert train: there is no option --lr; to override a value of the recipe, write KEY=VALUE: "
            "training.learning_rate=...",
        ),
        (
            "validate --model x",
            "mbert validate: there is no option --model; to override a value of the recipe, write KEY=VALUE: "
            "encoder.checkpoint=...",
        ),
        (
            "init a.tsv --model-name-or-path x",
            "mbert init: there is no option --model-name-or-path; did you mean '--encoder'? Run `mbert init -h` to "
            "list them all.",
        ),
        (
            "evaluate x --split dve",
            "mbert evaluate: --split: 'dve' is not one of 'train', 'dev', 'test'. See mbert evaluate -h.",
        ),
        (
            "evaluate x --limit a",
            "mbert evaluate: --limit must be a whole number, but is 'a'. See mbert evaluate -h.",
        ),
        ("evaluate x --limit 0", "mbert evaluate: --limit must be at least 1, but is '0'. See mbert evaluate -h."),
        ("predict", "mbert predict: RUN is missing. See mbert predict -h."),
        ("embed run in.tsv", "mbert embed: --output is missing. See mbert embed -h."),
        ("evaluate x -o", "mbert: Option '-o' requires an argument. See mbert -h."),
        ("info x", "mbert info: Got unexpected extra argument(s) (x). See mbert info -h."),
    ],
)
def test_a_mistake_on_the_command_line_is_reported_in_one_line(words, message):
    with pytest.raises(TyperException) as error:
        app(words.split(), prog_name="mbert", standalone_mode=False)
    assert mistake(error.value) == message


@pytest.mark.parametrize("words", [[], ["recipes"]])
@pytest.mark.parametrize("columns", ["40", "100"])
def test_a_group_without_a_command_prints_its_help_and_exits_with_2(words, columns, tmp_path):
    done = mbert(*words, cwd=tmp_path, COLUMNS=columns)
    printed = done.stdout + done.stderr
    assert done.returncode == 2
    assert printed.split()[:2] == ["Usage:", "mbert"]
    assert "See mbert" not in printed


def test_a_wrong_command_line_exits_with_2_and_prints_only_one_line(tmp_path):
    command = [sys.executable, "-m", "mbert_cli.cli", "train", "--ouptut", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def completed(words, tmp_path, shell="bash"):
    """Return the completions that a shell offers at the end of a command line."""
    environment = {"_MBERT_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv = ['mbert']; from mbert_cli.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={"PATH": "", **environment}
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("mbert tr", ["train"]),
        ("mbert train --outp", ["--output"]),
        ("mbert train de", ["demo"]),
        ("mbert train mi", ["mine.yaml"]),
        ("mbert sweep eq", ["equal_budgets_minilm"]),
        ("mbert recipes cat paper/table2", ["paper/table2_cls", "paper/table2_mean"]),
    ],
)
def test_shells_complete_commands_options_and_recipes(words, completions, tmp_path):
    (tmp_path / "mine.yaml").touch()
    assert completed(words, tmp_path) == completions


def test_warnings_of_libraries_are_not_printed(tmp_path):
    code = (
        "import sys, warnings, mbert_cli.machine.facts as info\n"
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


CHOICES = {
    "--tune-thresholds": (evaluate.Criterion, calibration.Criterion),
    "--quoting": (options.Quoting, csv_rows.Quoting),
    "--delimiter": (options.Delimiter, delimiter.Delimiter),
    "--on-bad-row": (options.OnBadRow, TaskSection.model_fields["on_bad_row"].annotation),
}


@pytest.mark.parametrize("option", CHOICES)
def test_an_option_has_the_choices_of_what_it_sets(option):
    ours, of_the_setting = map(choices, CHOICES[option])
    assert ours == of_the_setting != set()


def choices(annotation):
    """Return the values of the Literals in an annotation."""
    parts = get_args(annotation)
    return set(parts) if get_origin(annotation) is Literal else set().union(*map(choices, parts))
