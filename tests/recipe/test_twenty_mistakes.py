"""Twenty frequent mistakes and their messages: one line with the place, the value and the remedy."""

import os
import shutil

import pytest
from typer.exceptions import TyperException

from mbert_cli.cli import app
from mbert_cli.commands.mistakes import mistake
from mbert_cli.errors import MbertError


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("mistakes")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "-q", "training.epochs=1"], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def here(run, tiny_files, tmp_path, monkeypatch):
    """Create a folder with a recipe, its data, a run and damaged files, and change to it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    recipe = (run.parent / "recipe.yaml").read_text()
    for name in tiny_files.glob("*.tsv"):
        shutil.copy(name, tmp_path / name.name)
    (tmp_path / "my.yaml").write_text(recipe.replace(f"{tiny_files}/", ""))
    (tmp_path / "new.tsv").write_text("id\ttext\n1\tcat dog\n")
    (tmp_path / "wide.tsv").write_text("id\ttext\n1\tcat\tdog\n")
    (tmp_path / "latin.tsv").write_bytes("id\ttext\n1\tcaf\xe9\n".encode("latin-1"))
    (tmp_path / "empty.tsv").write_text("")
    rows = (tmp_path / "mood-train.tsv").read_text().splitlines()
    (tmp_path / "other.tsv").write_text("\n".join([rows[0], rows[1].rpartition("\t")[0] + "\tnone", *rows[2:]]) + "\n")
    (tmp_path / "unlabelled.tsv").write_text("\n".join([rows[0], rows[1].rpartition("\t")[0] + "\t", *rows[2:]]) + "\n")
    old = tmp_path / "old"
    shutil.copytree(run, old)
    config = old / "model" / "config.json"
    config.write_text(config.read_text().replace('"format": 1', '"format": 0'))
    (tmp_path / "bad.yaml").write_text("tasks: {mood: [\n")
    return tmp_path


MISTAKES = {
    "a command misspelt": ("trian my.yaml", "mbert: No such command 'trian'. Did you mean 'train'? See mbert -h."),
    "a flag misspelt": ("train my.yaml --ouput x", "there is no option --ouput; did you mean '--output'?"),
    "a recipe's key as a flag": ("train my.yaml --epochs 3", "to override a value of the recipe, write KEY=VALUE: training.epochs=..."),
    "a key misspelt": ("train my.yaml training.epoch=3", "'training.epoch=3': training.epoch is not a known key; did you mean 'epochs'?"),
    "a task of a recipe misspelt": ("train my.yaml tasks.moode.text=text", "'tasks.moode.text=text': the recipe has no task 'moode'; did you mean 'mood'? Known: "),
    "another tool's name of a key": ("train my.yaml training.lr=1e-5", "training.lr is not a known key; did you mean 'learning_rate'? Known: "),
    "a pair of the same column": ("train my.yaml tasks.mood.text=[text,text]", "tasks.mood.text must name two different columns, but is ['text', 'text']."),
    "a kind misspelt": ("train my.yaml pooling=maen", "pooling.kind is 'maen'; did you mean 'mean'? Known: cls, max, mean."),
    "a value of the wrong type": ("train my.yaml training.epochs=many", "training.epochs must be a whole number, but is 'many'."),
    "a shipped recipe misspelt": ("train dmo", "there is no such recipe file, nor a shipped recipe of that name; did you mean 'demo'?"),
    "a recipe that is not YAML": ("train bad.yaml", "bad.yaml:2:1: is not YAML"),
    "a data file that is missing": ("train my.yaml tasks.mood.train=mod-train.tsv", "there is no file {here}/mod-train.tsv; did you mean 'mood-train.tsv'?"),
    "a column misspelt": ("train my.yaml tasks.mood.text=txt", "mood-train.tsv:1: has no column 'txt', needed as text of task mood; did you mean 'text'? Known: id, mood, text."),
    "an unknown label": ("train my.yaml tasks.mood.train=other.tsv", "other.tsv:2: mood must be one of low, mid, high, but is 'none'; correct the row, or set tasks.mood.on_bad_row=skip."),
    "a label that is empty": ("train my.yaml tasks.mood.train=unlabelled.tsv", "unlabelled.tsv:2: mood is empty; correct the row, or set tasks.mood.on_bad_row=skip."),
    "a run that exists": ("train my.yaml -o run", "run exists and contains a run; continue it with --resume, or replace it with --force."),
    "a folder that is not a run": ("predict nowhere new.tsv", "nowhere: there is no such run folder; mbert train writes one with -o."),
    "a model of another version": ("predict old new.tsv -t mood", "old/model/config.json: was altered"),
    "a task misspelt": ("predict run new.tsv -t mod", "the model has no task 'mod'; did you mean 'mood'?"),
    "an output that exists": ("predict run new.tsv -t mood -o mood-dev.tsv", "mood-dev.tsv: exists; replace it with --force, or choose another output."),
    "an input without the column": ("predict run mood-dev.tsv -t same", "mood-dev.tsv:1: has no column 'one', needed as text of task same. Known: id, mood, text."),
    "a row with a stray tab": ("predict run wide.tsv -t mood", "wide.tsv:2: has 3 columns, but the header has 2; check for a missing or stray delimiter or quote."),
    "a file in another encoding": ("predict run latin.tsv -t mood", "latin.tsv:2: is not UTF-8 (byte 13 of the file); convert it: `iconv -f CP1252 -t UTF-8 latin.tsv > latin.utf8.tsv`."),
    "a file that is empty": ("predict run empty.tsv -t mood", "empty.tsv: is empty; expected a header line and rows."),
    "a folder instead of a file": ("predict run run -t mood", "-o must be a folder"),
    "a device that does not exist": ("predict run new.tsv -t mood --device cuda:7", "--device is 'cuda:7', but "),
    "thresholds on a test file": ("evaluate run --tune-thresholds f1 --split test", "fitting uses dev files only; remove --split test."),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_in_one_line_with_its_remedy(name, here):
    words, message = MISTAKES[name]
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    with pytest.raises((MbertError, TyperException)) as refusal:
        app(
            [*words.split(), *(["-q"] if "predict" in words or "train" in words else [])],
            prog_name="mbert",
            standalone_mode=False,
        )
    error = refusal.value
    printed = "\n".join(error.problems) if isinstance(error, MbertError) else mistake(error)
    assert message.format(here=here) in printed
    assert len(printed.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_an_output_folder_that_cannot_be_written_is_reported(here):
    if os.geteuid() == 0:
        target = "/proc/there"  # root can write to any other folder
    else:
        (here / "locked").mkdir(mode=0o500)
        target = "locked/there"
    with pytest.raises(MbertError) as refusal:
        app(["train", "my.yaml", "-o", target, "-q"], standalone_mode=False)
    assert target in str(refusal.value)
    assert "choose another" in str(refusal.value)
