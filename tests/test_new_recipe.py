import csv
import gzip
import json

import pytest
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.compose import load_recipe
from mbert_cli.errors import UsageError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, rows, names=("id", "text", "mood")):
    path.write_text("\n".join("\t".join(map(str, row)) for row in [names, *rows]) + "\n")


def moods(count, seed=1):
    return [(i, text, ("bad", "good", "so-so")[i % 3]) for i, text in enumerate(sentences(count, seed))]


def init(*words):
    app(["init", *map(str, words)], standalone_mode=False)


def test_a_recipe_of_two_tasks_with_dev_files_is_written_and_can_be_read(here, capsys):
    write(here / "mood-train.tsv", moods(60))
    write(here / "mood-dev.tsv", moods(20, 2))
    pairs = [(one, two, i % 2) for i, (one, two) in enumerate(zip(sentences(40, 3), sentences(40, 4), strict=True))]
    write(here / "same.train.tsv", pairs, ("question1", "question2", "is_duplicate"))
    write(here / "same.valid.tsv", pairs, ("question1", "question2", "is_duplicate"))
    init("mood-train.tsv", "same.train.tsv", "mood-dev.tsv", "same.valid.tsv", "-o", "mine.yaml")
    recipe = load_recipe("mine.yaml")
    assert [(name, task.text, task.label, task.head.kind) for name, task in recipe.tasks.items()] == [
        ("mood", ["text"], "mood", "classification"),
        ("same", ["question1", "question2"], "is_duplicate", "pair_classification"),
    ]
    assert recipe.tasks["mood"].head.options["labels"] == ["bad", "good", "so-so"]
    assert [path.name for path in here.iterdir()].count("mood-dev.tsv") == 1
    told = capsys.readouterr().err
    assert "mood: mood-train.tsv: text 'text', label 'mood' (3 classes), head classification" in told
    assert "mbert train mine.yaml" in told


def test_a_file_alone_is_split_without_losing_rows_or_sharing_texts(here):
    rows = moods(200)
    write(here / "notes.tsv", rows + [(1000 + i, *row[1:]) for i, row in enumerate(rows)])  # every text twice
    init("notes.tsv")
    parts = {}
    for split in ("train", "dev"):
        with (here / f"notes-{split}.tsv").open() as file:
            parts[split] = list(csv.reader(file, delimiter="\t"))
    assert parts["train"][0] == parts["dev"][0] == ["id", "text", "mood"]
    texts = {split: {row[1] for row in rows[1:]} for split, rows in parts.items()}
    assert not texts["train"] & texts["dev"]
    assert sum(len(rows) - 1 for rows in parts.values()) == 400
    assert 15 <= len(parts["dev"]) <= 70
    assert load_recipe("recipe.yaml").tasks["notes"].dev.endswith("/notes-dev.tsv")


@pytest.mark.parametrize(("name", "written"), [("a.parquet", "a-train.tsv"), ("a.tsv.gz", "a-train.tsv")])
def test_files_that_are_split_off_are_text_and_named_so(here, name, written):
    if name.endswith("gz"):
        write(here / "plain.tsv", moods(60))
        (here / name).write_bytes(gzip.compress((here / "plain.tsv").read_bytes()))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        columns = dict(zip(("id", "text", "mood"), map(list, zip(*moods(60), strict=True)), strict=True))
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), here / name)
    init(name)
    assert (here / written).read_text().startswith("id\ttext\tmood\n")
    assert load_recipe("recipe.yaml").tasks["a"].train.endswith(f"/{written}")


def test_a_jsonl_file_with_scores_is_split_and_becomes_a_scale(here):
    lines = [json.dumps({"a": one, "b": two, "score": i % 9 / 2}) for i, (one, two) in
             enumerate(zip(sentences(80, 3), sentences(80, 4), strict=True))]  # fmt: skip
    (here / "near.jsonl").write_text("\n".join(lines) + "\n")
    init("near.jsonl", "-o", "near.yaml")
    head = load_recipe("near.yaml").tasks["near"].head
    assert (head.kind, head.options["scale"]) == ("cosine_similarity", 4)
    split = [(here / f"near-{split}.jsonl").read_text().splitlines() for split in ("train", "dev")]
    assert sorted(map(json.loads, split[0] + split[1]), key=str) == sorted(map(json.loads, lines), key=str)


def test_files_are_found_from_a_recipe_in_another_folder(here):
    (here / "recipes").mkdir()
    write(here / "mood-train.tsv", moods(60))
    write(here / "mood-dev.tsv", moods(20, 2))
    init("mood-train.tsv", "mood-dev.tsv", "-o", "recipes/mine.yaml")
    assert "train: ../mood-train.tsv" in (here / "recipes" / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.tsv", "b/a.tsv"], "b/a.tsv: is the train file of the same task as a.tsv; rename one of them."),
        (["a-dev.tsv"], "a-dev.tsv: there is no training file of task a; name it as well."),
        (["a.tsv", "-o", "old.yaml"], "old.yaml: exists; replace it with --force"),
        (["a.tsv", "--label", "mod"], "a.tsv: has no column 'mod'; did you mean 'mood'?"),
        (["few.tsv"], "few.tsv: has too few rows to set some aside as dev; name a dev file as well."),
        (["taken.tsv"], "taken-train.tsv: exists; replace it with --force"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(here, words, said):
    (here / "b").mkdir()
    for name in ("a.tsv", "b/a.tsv", "a-dev.tsv", "taken.tsv"):
        write(here / name, moods(60))
    write(here / "few.tsv", moods(2))
    for name in ("old.yaml", "taken-train.tsv"):
        (here / name).write_text("mine")
    before = sorted(here.rglob("*"))
    with pytest.raises(UsageError) as refusal:
        init(*words)
    assert said in str(refusal.value)
    assert sorted(here.rglob("*")) == before
