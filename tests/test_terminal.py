"""The tables of commands, on terminals of several widths."""

import re

import pytest
import tiny
from commands import mbert, mbert_on_terminals

WIDTHS = (40, 60, 80, 120)
LINES = re.compile(r"[│┃┏┓┗┛┡┩├┤└┘┬┴┼╇┳┻━─]+")


def words_of(text):
    """Return the words and numbers of a text, without the lines of tables and without spinners."""
    text = re.sub("[\u2800-\u28ff][^\r\n]*", " ", text)
    return {word.strip(",;:.") for word in LINES.sub(" ", text).split()} - {""}


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tmp_path_factory):
    """Create two runs and a sweep with long labels and names."""
    folder = tmp_path_factory.mktemp("terminal")
    tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny.write_files(folder))
    for path in (folder / "recipe.yaml", *folder.glob("mood-*.tsv")):
        text = path.read_text()
        for short, long in (("mid", "CONTRADICTION"), ("low", "ENTAILMENT")):
            text = text.replace(f'"{short}"', f'"{long}"').replace(f"\t{short}\n", f"\t{long}\n")
        path.write_text(text)
    rows = ["{name: a row with a long name, recipe: recipe.yaml}"]
    rows += ["{name: short, recipe: recipe.yaml, settings: [training.epochs=1]}"]
    (folder / "plan.yaml").write_text(f"title: moods\nseeds: [1]\nrows: [{', '.join(rows)}]\n")
    done = mbert("sweep", "plan.yaml", "-o", "sweep", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    for name, run in zip(("a", "b"), sorted((folder / "sweep" / "runs").iterdir()), strict=True):
        (folder / name).symlink_to(run)
    return folder


# Each command with the words that only its narrow form has. `train` prints the table of `validate`.
COMMANDS = {
    "evaluate": (
        ["evaluate", "a", "--top-errors", "2", "--calibrate"],
        "Most frequent mistakes of mood true label predicted confusion 3 classes -o writes all it",
    ),
    "report": (["report", "a", "b"], "task score reference difference"),
    "compare": (["compare", "a", "b"], ""),
    "sweep": (["sweep", "plan.yaml", "-o", "sweep", "--table"], "task mean range published"),
    "sweep --dry-run": (["sweep", "plan.yaml", "-o", "sweep", "--dry-run"], ""),
    "count-params": (["count-params", "a"], ""),
    "count-params --compare": (["count-params", "--compare", "pal,low_rank,houlsby,top"], ""),
    "info": (["info"], ""),
    "recipes ls": (["recipes", "ls"], ""),
    "recipes ls --plans": (["recipes", "ls", "--plans"], ""),
    "validate": (["validate", "recipe.yaml", "--no-measure"], ""),
}
DROPPED = re.compile(r"not shown in \d+ columns: ((?:[\w ,-]|\n(?=\w))*)\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_breaks_a_word_or_a_number_in_a_table(folder, name):
    command, own = COMMANDS[name]
    wide, *screens = mbert_on_terminals(*command, cwd=folder, widths=(400, *WIDTHS)).values()
    assert len(words_of(wide)) > 10
    for width, screen in zip(WIDTHS, screens, strict=True):
        dropped = DROPPED.findall(screen)
        assert words_of(DROPPED.sub("", screen)) - words_of(wide) <= set(own.split()), (width, screen)
        if not dropped and not own:
            assert words_of(wide) <= words_of(screen), (width, screen)
        longest = max(map(len, words_of(wide)))
        tables = [line for line in screen.splitlines() if LINES.search(line)]
        assert all(len(line) <= max(width, longest) for line in tables)
