import pytest
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError, UsageError
from mbert_cli.model.components import load_recipe

SPLITS = ("TRAIN", "TRIAL", "TEST")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i}\t{text}\t{'ab'[i % 2]}\t{SPLITS[i % 3]}" for i, text in enumerate(sentences(60, 1))]
    (tmp_path / "SICK.txt").write_text("\n".join(["pair_ID\ttext\tlabel\tset", *rows]) + "\n")
    return tmp_path


def init(*words):
    app(["init", "SICK.txt", *words], standalone_mode=False)


def ids(path):
    with Table(str(path)) as table:
        return [int(row.cells[0]) for row in table.all_rows()]


def test_each_split_becomes_a_file_of_the_recipe(here, capsys):
    init()
    remark = "'set' (names of splits; rows of all splits are used: to divide the file by them, add --split-column set)"
    assert remark in capsys.readouterr().err
    init("--split-column", "set", "-F")
    task = load_recipe("recipe.yaml").tasks["sick"]
    assert [ids(path) for path in (task.train, task.dev, task.test)] == [[*range(first, 60, 3)] for first in range(3)]
    assert (here / "SICK.txt").read_text().count("\n") == 61
    printed = capsys.readouterr().err
    assert "SICK.txt: divided by 'set' into sick-train.txt (20 rows), sick-dev.txt (20 rows), sick-test.txt" in printed


def test_files_of_an_earlier_init_are_used_again_but_others_are_not_replaced(here):
    init("--split-column", "set")
    init("--split-column", "set", "-o", "again.yaml")
    (here / "sick-dev.txt").write_text("changed")
    with pytest.raises(UsageError, match="sick-dev.txt: exists; replace it with --force"):
        init("--split-column", "set", "-o", "third.yaml")
    assert (here / "sick-dev.txt").read_text() == "changed"


def test_a_cell_that_is_no_split_is_rejected_with_its_line(here):
    path = here / "SICK.txt"
    path.write_text(path.read_text().replace("TRIAL", "fold 1", 1))
    with pytest.raises(DataError, match=r"SICK.txt:3: set must be the name of a split,"):
        init("--split-column", "set")


@pytest.mark.parametrize(
    ("column", "message"),
    [("sets", "SICK.txt has no such column; did you mean 'set'"), ("label", "SICK.txt:2: label must be the name of")],
)
def test_another_column_is_rejected(here, column, message):
    with pytest.raises((UsageError, DataError), match=message):
        init("--split-column", column)
    assert [path.name for path in here.iterdir()] == ["SICK.txt"]


def test_a_file_without_training_rows_is_rejected(here):
    path = here / "SICK.txt"
    path.write_text(path.read_text().replace("TRAIN", "TEST"))
    with pytest.raises(DataError, match="SICK.txt: no row has train in set; name another --split-column"):
        init("--split-column", "set")
