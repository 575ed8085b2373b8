import contextlib
import csv
import gzip
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.data.examples import read_examples
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError, UsageError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import task_labels
from mbert_cli.recipe.training_options import unused_warnings
from mbert_cli.training.checks import check_recipe


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


TWENTY = sentences(20, 7)


def write(path, rows, names=("id", "text", "mood")):
    path.write_text("\n".join("\t".join(map(str, row)) for row in [names, *rows]) + "\n")


def moods(count, seed=1):
    return [(i, text, ("bad", "good", "so-so")[i % 3]) for i, text in enumerate(sentences(count, seed))]


def init(*words):
    app(["init", *map(str, words)], standalone_mode=False)


def test_init_writes_a_valid_recipe_for_two_tasks_with_dev_files(here, capsys):
    write(here / "mood-train.tsv", moods(60))
    write(here / "mood-dev.tsv", moods(20, 2))
    pairs = [(one, two, i % 2) for i, (one, two) in enumerate(zip(sentences(40, 3), sentences(40, 4), strict=True))]
    write(here / "same.train.tsv", pairs, ("question1", "question2", "is_duplicate"))
    write(here / "same.valid.tsv", pairs, ("question1", "question2", "is_duplicate"))
    init("mood-train.tsv", "same.train.tsv", "mood-dev.tsv", "same.valid.tsv", "-o", "mine.yaml")
    recipe = load_recipe("mine.yaml")
    assert unused_warnings(recipe) == []
    assert [(name, task.text, task.label, task.head.kind) for name, task in recipe.tasks.items()] == [
        ("mood", ["text"], "mood", "classification"),
        ("same", ["question1", "question2"], "is_duplicate", "pair_classification"),
    ]
    assert recipe.tasks["mood"].head.options["labels"] == ["bad", "good", "so-so"]
    assert [path.name for path in here.iterdir()].count("mood-dev.tsv") == 1
    printed = capsys.readouterr().err
    assert (
        "mood: mood-train.tsv: text 'text', label 'mood' (3 classes: bad, good, so-so; guessed from its name),"
        in printed
    )
    assert "mbert train mine.yaml" in printed


def test_a_single_file_is_split_without_lost_rows_or_shared_texts(here):
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
    recipe = load_recipe("recipe.yaml")
    assert recipe.tasks["notes"].dev.endswith("/notes-dev.tsv")
    assert unused_warnings(recipe) == []


@pytest.mark.parametrize(("name", "written"), [("a.parquet", "a-train.tsv"), ("a.tsv.gz", "a-train.tsv")])
def test_split_files_are_text_and_their_names_say_so(here, name, written):
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


def test_a_jsonl_file_with_scores_is_split_and_gets_a_scale(here):
    lines = [json.dumps({"a": one, "b": two, "score": i % 9 / 2}) for i, (one, two) in
             enumerate(zip(sentences(80, 3), sentences(80, 4), strict=True))]  # fmt: skip
    (here / "near.jsonl").write_text("\n".join(lines) + "\n")
    init("near.jsonl", "-o", "near.yaml")
    head = load_recipe("near.yaml").tasks["near"].head
    assert (head.kind, head.options["max"]) == ("cosine_similarity", 4)
    split = [(here / f"near-{split}.jsonl").read_text().splitlines() for split in ("train", "dev")]
    assert sorted(map(json.loads, split[0] + split[1]), key=str) == sorted(map(json.loads, lines), key=str)


def test_paths_are_relative_to_the_folder_of_the_recipe(here):
    (here / "recipes").mkdir()
    write(here / "mood-train.tsv", moods(60))
    write(here / "mood-dev.tsv", moods(20, 2))
    init("mood-train.tsv", "mood-dev.tsv", "-o", "recipes/mine.yaml")
    assert "train: ../mood-train.tsv" in (here / "recipes" / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["a.tsv", "b/a.tsv"],
            "b/a.tsv: is the train file of the same task as a.tsv; leave out or rename one of them.",
        ),
        (["a-dev.tsv", "a-test.tsv"], "a-dev.tsv: there is no training file of task a; name it as well."),
        (["a.tsv", "--label", "mood", "--label", "mood"], "--label mood: is given twice; name each column once."),
        (
            ["a.tsv", "--label", "x=mood", "--label", "x=id"],
            "--label x=id: two tasks would be called x; give each another name, as in --label OTHER=id.",
        ),
        (
            ["a.tsv", "bare/a-dev.tsv"],
            "bare/a-dev.tsv: has no labels in 'mood'; name a labelled dev file, or no dev file",
        ),
        (["a.tsv", "-o", "old.yaml"], "old.yaml: exists; replace it with --force"),
        (["a.tsv", "--label", "mood,id"], "--label mood,id: name one column at a time: --label mood --label id"),
        (["a.tsv", "--label", "mod"], "a.tsv: has no column 'mod'; did you mean 'mood'?"),
        (
            ["fine.tsv", "few.tsv"],
            "few.tsv: has 2 rows with 2 different texts and 2 different labels, too few to split",
        ),
        (["few.tsv"], "different labels, too few to split off a dev file; name a dev file as well."),
        (
            ["classes.tsv", "--label", "label"],
            "classes.tsv: has 100 rows with 3 different texts and 93 different labels, too few to split",
        ),
        (
            ["taken.tsv", "-o", "mine.yaml"],
            "taken-train.tsv: exists; replace it with --force, or choose another folder, as in -o FOLDER/mine.yaml",
        ),
    ],
)
def test_nothing_is_written_after_an_error(here, words, message):
    (here / "b").mkdir()
    (here / "bare").mkdir()
    write(here / "bare" / "a-dev.tsv", [row[:2] for row in moods(20)], ("id", "text"))
    for name in ("a.tsv", "b/a.tsv", "a-dev.tsv", "a-test.tsv", "fine.tsv", "taken.tsv"):
        write(here / name, moods(60))
    write(here / "few.tsv", moods(2))
    write(here / "classes.tsv", [(i, f"words {i % 3}", f"name{i % 93}") for i in range(100)], ("id", "text", "label"))
    for name in ("old.yaml", "taken-train.tsv"):
        (here / name).write_text("mine")
    before = sorted(here.rglob("*"))
    with pytest.raises(UsageError) as refusal:
        init(*words)
    assert message in str(refusal.value)
    assert sorted(here.rglob("*")) == before


def accepted(path):
    """Read the recipe and all of its files, as `mbert validate` does; return the tasks."""
    recipe = load_recipe(str(path))
    check_recipe(recipe)
    labels = task_labels(recipe.tasks)
    for name, task in recipe.tasks.items():
        for file in (task.train, task.dev, task.test):
            if file is not None:
                read_examples(file, name, task, labels[name])
    return recipe.tasks


def pairs(count):
    return zip(sentences(count, 3), sentences(count, 4), strict=True)


def test_init_reads_a_published_file_of_pairs_with_ids(here, capsys):
    rows = [(i % 2, 1_090_000 + 611 * i, 3_454_317 - 37 * i, one, two) for i, (one, two) in enumerate(pairs(60))]
    write(here / "msr.tsv", rows, ("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String"))
    init("msr.tsv")
    task = accepted("recipe.yaml")["msr"]
    assert (task.text, task.label, task.head.kind) == (["#1 String", "#2 String"], "Quality", "pair_classification")
    assert "not labels: '#1 ID' (its name suggests an id), '#2 ID' (its name suggests an id)" in capsys.readouterr().err


def two_labels(here):
    kinds = ("ENTAILMENT", "NEUTRAL", "CONTRADICTION")
    rows = [(i, one, two, 1 + i % 41 / 10, kinds[i % 3]) for i, (one, two) in enumerate(pairs(90))]
    header = ("pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment")
    write(here / "both.tsv", rows, header)


def test_a_second_column_of_labels_is_reported(here, capsys):
    two_labels(here)
    init("both.tsv")
    assert list(accepted("recipe.yaml")) == ["both"]
    words = "--label relatedness_score --label entailment_judgment"
    message = f"could also be labels: entailment_judgment; for one task each, add {words}"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("named", [True, False])
def test_each_given_label_makes_a_task(here, named):
    two_labels(here)
    names = ("near", "entails") if named else ("relatedness_score", "entailment_judgment")
    columns = ("relatedness_score", "entailment_judgment")
    words = [f"{name}={column}" if named else column for name, column in zip(names, columns, strict=True)]
    init("both.tsv", "--label", words[0], "--label", words[1])
    tasks = accepted("recipe.yaml")
    assert [(name, task.label, task.id) for name, task in tasks.items()] == [
        (name, column, "pair_ID") for name, column in zip(names, columns, strict=True)
    ]
    near, entails = tasks.values()
    assert near.train == entails.train == str(here / "both-train.tsv")
    assert (near.head.options["min"], near.head.options["max"]) == (1, 5)
    assert entails.head.options["labels"] == ["CONTRADICTION", "ENTAILMENT", "NEUTRAL"]


@pytest.mark.parametrize(
    ("header", "tasks"),
    [
        (("relatedness_score", "entailment_judgment"), ["relatedness_score", "entailment_judgment"]),
        (("near", "near_score"), ["f_near", "near_score"]),
        (("near", "near_pred"), ["f_near", "near_pred"]),
        (("kind", "kind_p_"), ["f_kind", "kind_p"]),
    ],
)
def test_no_column_of_predictions_has_the_name_of_a_column_of_the_file(here, header, tasks):
    rows = [(i, one, two, i % 3, "abc"[i % 3]) for i, (one, two) in enumerate(pairs(90))]
    write(here / "f.tsv", rows, ("id", "text1", "text2", *header))
    init("f.tsv", "--label", header[0], "--label", header[1])
    sections = accepted("recipe.yaml")
    assert list(sections) == tasks
    labels = task_labels(sections)
    predicted = {f"{name}_{column}" for name in sections for column in labels[name].columns}
    assert predicted.isdisjoint(header)


def test_a_data_set_gets_another_name_if_a_file_has_its_column_of_predictions(here):
    write(here / "mood.tsv", [(*row, "x") for row in moods(60)], ("id", "text", "mood", "mood_pred"))
    init("mood.tsv", "-o", "one.yaml")
    assert list(accepted("one.yaml")) == ["mood"]  # without a prefix: `pred`
    write(here / "other.tsv", moods(60, 2), ("id", "text", "kind"))
    init("mood.tsv", "other.tsv")
    assert list(accepted("recipe.yaml")) == ["mood_mood", "other"]


def test_a_given_name_is_refused_if_the_file_has_its_column_of_predictions(here):
    two_labels(here)
    with pytest.raises(UsageError) as refusal:
        init("both.tsv", "--label", "relatedness=relatedness_score", "--label", "entailment_judgment")
    assert str(refusal.value) == (
        "--label relatedness=relatedness_score: predictions of task relatedness would have the column "
        "'relatedness_score', which both.tsv already has; choose another name for the task."
    )


def test_a_recipe_has_no_yaml_anchors(here):
    two_labels(here)
    init("both.tsv", "--label", "relatedness_score", "--label", "entailment_judgment")
    text = (here / "recipe.yaml").read_text()
    assert text.count("text: [sentence_A, sentence_B]") == 2
    assert "&id" not in text


def test_labels_of_other_files_are_guessed_if_one_is_given(here):
    two_labels(here)
    write(here / "moods.tsv", moods(60))
    init("both.tsv", "moods.tsv", "--label", "entailment_judgment")
    assert {name: task.label for name, task in accepted("recipe.yaml").items()} == {
        "both": "entailment_judgment", "moods": "mood",
    }  # fmt: skip


def test_the_recipe_keeps_the_option_for_stray_quotes(here):
    texts = ['"Never," he said, "again."', 'Nine inches (9") wide', "plain"]
    write(here / "q.tsv", [(i % 2, f"{texts[i % 3]} {i}") for i in range(60)], ("label", "text"))
    with pytest.raises(DataError, match="--quoting none"):
        init("q.tsv")
    init("q.tsv", "--quoting", "none")
    task = accepted("recipe.yaml")["q"]
    assert task.quoting == "none"
    lines = [(here / f"q-{split}.tsv").read_text().splitlines()[1:] for split in ("train", "dev")]
    assert sorted(lines[0] + lines[1]) == sorted((here / "q.tsv").read_text().splitlines()[1:])


def test_the_recipe_keeps_the_delimiter_and_alternative_names_of_columns(here):
    lines = [f"{text}|{mood}" for _, text, mood in moods(60)]
    (here / "p.csv").write_text("\n".join(["body|gold", *lines]) + "\n")
    init("p.csv", "--delimiter", "pipe", "--columns", "text=body", "--columns", "mood=gold", "--columns", "x=y")
    task = accepted("recipe.yaml")["p"]
    assert (task.text, task.label, task.delimiter) == (["text"], "mood", "pipe")
    assert task.columns == {"text": "body", "mood": "gold"}


@pytest.mark.parametrize("labels", ["no column", "empty", "-1"])
def test_a_test_file_without_labels_is_left_out_and_reported(here, capsys, labels):
    write(here / "train.tsv", moods(60))
    write(here / "dev.tsv", moods(20, 2))
    rows = [(*row[:2], "" if labels == "empty" else labels) for row in moods(10, 3)]
    names = ("id", "text", "mood")
    write(here / "test.tsv", [row[:2] for row in rows] if labels == "no column" else rows,
          names[:2] if labels == "no column" else names)  # fmt: skip
    init("train.tsv", "dev.tsv", "test.tsv")
    assert accepted("recipe.yaml")["task"].test is None
    assert "test.tsv: has no labels and is left out of the recipe" in capsys.readouterr().err


def test_classes_and_scales_cover_all_splits(here, capsys):
    write(here / "a-train.tsv", moods(60))
    write(here / "a-dev.tsv", [*moods(20, 2), (99, "one more", "awful")])
    write(here / "a-test.tsv", [*moods(20, 3), (99, "one more", "great")])
    write(
        here / "b-train.tsv", [(i, text, i % 7 / 2) for i, text in enumerate(sentences(60, 4))], ("id", "text", "score")
    )
    write(here / "b-dev.tsv", [(i, text, i) for i, text in enumerate(sentences(9, 5))], ("id", "text", "score"))
    init("a-train.tsv", "a-dev.tsv", "a-test.tsv", "b-train.tsv", "b-dev.tsv")
    tasks = accepted("recipe.yaml")
    assert tasks["a"].head.options["labels"] == ["awful", "bad", "good", "great", "so-so"]
    assert tasks["b"].head.options["max"] == 8
    assert "  class great has no dev rows, so it counts as 0 in macro averages" in capsys.readouterr().err


def test_the_dev_split_has_a_tenth_of_each_class(here, capsys):
    classes = ["often"] * 300 + ["seldom"] * 40 + ["rare"] * 5 + ["once"]
    write(here / "s.tsv", [(i, f"text number {i}", name) for i, name in enumerate(classes)])
    init("s.tsv")
    with (here / "s-dev.tsv").open() as file:
        found = [row["mood"] for row in csv.DictReader(file, delimiter="\t")]
    assert [found.count(name) for name in ("often", "seldom", "rare", "once")] == [30, 4, 1, 0]
    printed = capsys.readouterr().err
    assert (
        "no dev file: a tenth of the texts of each class, chosen by their hash, becomes dev: s-train.tsv and s-"
        in printed
    )
    assert "class once has no dev rows, so it counts as 0 in macro averages" in printed


@pytest.mark.parametrize("options", [[], ["--force"]])
def test_a_training_file_is_not_overwritten_by_its_own_split(here, options):
    write(here / "a-train.tsv", moods(60))
    before = (here / "a-train.tsv").read_text()
    init("a-train.tsv", *options)
    assert accepted("recipe.yaml")["a"].train == str(here / "a_split-train.tsv")
    assert (here / "a-train.tsv").read_text() == before


def test_rows_without_labels_are_skipped_and_counted(here, capsys):
    write(here / "a.tsv", [(i, text, "" if i % 4 == 0 else mood) for i, text, mood in moods(80)])
    init("a.tsv")
    assert accepted("recipe.yaml")["a"].on_bad_row == "skip"
    assert "'mood' is empty in 20 rows, which are skipped" in capsys.readouterr().err


def test_rows_that_cannot_be_read_are_skipped_and_listed(here, capsys):
    rows = [(*row, "stray") if row[0] in (7, 9) else row for row in moods(80)]
    write(here / "a.tsv", rows)
    init("a.tsv")
    assert accepted("recipe.yaml")["a"].on_bad_row == "skip"
    why = (
        "has 4 columns, but the header has 3, in 2 rows (lines 9, 11); check for a missing or stray delimiter or quote"
    )
    assert f"  a.tsv: skipped 2 bad rows: {why}\n" in capsys.readouterr().err
    written = [line for split in ("train", "dev") for line in (here / f"a-{split}.tsv").read_text().splitlines()[1:]]
    assert sorted(written) == sorted("\t".join(map(str, row)) for row in rows if len(row) == 3)


def test_a_file_of_which_many_rows_cannot_be_read_is_refused_with_their_lines(here):
    write(here / "a.tsv", [(*row, "stray") if row[0] < 25 else row for row in moods(80)])
    with pytest.raises(DataError) as refusal:
        init("a.tsv")
    lines = str(refusal.value).splitlines()
    assert lines == [
        "a.tsv:2: has 4 columns, but the header has 3, in 25 rows (lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...); "
        "check for a missing or stray delimiter or quote.",
        "a.tsv: has 25 bad rows; correct them, or delete bad rows; if the columns are wrong, choose another "
        "--delimiter or --quoting.",
    ]
    assert [path.name for path in here.iterdir()] == ["a.tsv"]


def test_correct_rows_of_a_csv_file_are_not_lost_if_each_of_their_lines_could_be_a_row(here, capsys):
    rows = [(f"please send {i},000\nto my account", "transfer") for i in range(20)]
    rows += [(f"why is card {i} declined\nagain,\nand again", "card") for i in range(20)]
    with (here / "bank.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    init("bank.csv")
    task = accepted("recipe.yaml")["bank"]
    assert task.on_bad_row == "error"
    labels = task_labels(load_recipe("recipe.yaml").tasks)["bank"]
    read = [text for file in (task.train, task.dev) for text in read_examples(file, "bank", task, labels).texts[0]]
    assert sorted(read) == sorted(text for text, _ in rows)
    assert "20 quoted cells span lines that could be rows by themselves" in capsys.readouterr().err


def test_init_does_not_skip_rows_whose_quotes_are_doubtful(here):
    rows = [f"a text about {i},{'ab'[i % 2]}" for i in range(80)]
    rows[3:3] = ['"please send 1,000\nto my account",a', '"please send 2,000\nto my account",a']
    (here / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    with pytest.raises(DataError) as refusal:
        init("a.csv")
    first, *others, last = str(refusal.value).splitlines()
    assert first.startswith("a.csv:5: a quoted cell spans lines 5 to 6, each of which could be a row of 2 columns by")
    assert first.endswith("if one cell contains these lines, add --quoting csv (quoting: csv).")
    assert all("--quoting" not in each for each in others)
    assert last == "a.csv: has 4 bad rows."
    assert [path.name for path in here.iterdir()] == ["a.csv"]
    init("a.csv", "--quoting", "csv")
    assert accepted("recipe.yaml")["a"].quoting == "csv"


def test_no_delimiter_is_suggested_for_a_file_of_another_encoding(here):
    (here / "a.csv").write_bytes(b"text,mood\n" + "caf\xe9 for one,good\n".encode("cp1252") * 30)
    with pytest.raises(DataError) as refusal:
        init("a.csv")
    first, last = str(refusal.value).splitlines()
    assert first.count("iconv -f CP1252 -t UTF-8 a.csv > a.utf8.csv") == 1
    assert last == "a.csv: has 30 bad rows."


def test_objects_and_lists_are_neither_texts_nor_labels(here, capsys):
    meta = {"source": "a web page", "words": ["one", "two"]}
    rows = [{"body": text, "meta": meta, "tags": ["x", str(i)], "mood": "ab"[i % 2]} for i, text in enumerate(TWENTY)]
    (here / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    init("a.jsonl")
    assert accepted("recipe.yaml")["a"].text == ["body"]
    why = "'meta' (contains an object, which is neither a text nor a label), 'tags' (lists of 21 different values)"
    assert why in capsys.readouterr().err
    with pytest.raises(UsageError, match="--text meta: the column contains an object; name one with texts"):
        init("a.jsonl", "--text", "meta", "-F")


def test_a_class_that_looks_like_a_missing_value_is_remarked(here, capsys):
    write(here / "a.tsv", [(i, text, "NaN" if i % 5 == 0 else "ab"[i % 2]) for i, text in enumerate(TWENTY)])
    init("a.tsv")
    assert "NaN (4 rows) looks like a missing value, but is a class; if the label is missing" in capsys.readouterr().err


def test_the_range_of_the_labels_and_the_scale_are_printed(here, capsys):
    rows = [(i, text, 1.5 + i % 7 / 2) for i, text in enumerate(TWENTY * 2)]
    write(here / "a.tsv", rows, ("id", "text", "score"))
    init("a.tsv")
    assert "label 'score' (numbers 1.5 to 4.5, on a scale from 1 to 5;" in capsys.readouterr().err


def test_no_delimiter_is_suggested_for_bad_rows_of_jsonl(here):
    (here / "a.jsonl").write_text('{"text": "one two three", "mood": "good"}\n{"text": 1\n' * 20)
    with pytest.raises(DataError, match=r"a\.jsonl: has 20 bad rows; correct them, or delete bad rows\.$"):
        init("a.jsonl")


@pytest.mark.parametrize("name", ["#1 ID", "pair_ID", "PairID", "uid", "guid", "idx", "sentence id"])
def test_a_column_of_ids_is_never_a_label_and_its_unique_values_become_ids(here, name):
    rows = [(i % 2, 1_090_000 + 611 * i, *pair) for i, pair in enumerate(pairs(60))]
    write(here / "a.tsv", rows, ("kind", name, "sentence_A", "sentence_B"))
    init("a.tsv")
    task = accepted("recipe.yaml")["a"]
    assert (task.label, task.id, task.text) == ("kind", name, ["sentence_A", "sentence_B"])


def test_the_column_whose_ids_are_unique_in_every_file_becomes_the_id(here):
    header = ("kind", "#1 ID", "#2 ID", "#1 String", "#2 String")
    rows = [(i % 2, i, 1000 + i, *pair) for i, pair in enumerate(pairs(60))]
    write(here / "a-train.tsv", rows, header)
    write(here / "a-dev.tsv", [(kind, 7, *rest) for kind, _, *rest in rows[:20]], header)
    init("a-train.tsv", "a-dev.tsv")
    assert accepted("recipe.yaml")["a"].id == "#2 ID"


def test_the_split_of_an_earlier_init_is_used_again_if_it_is_the_same(here):
    write(here / "a.tsv", moods(60))
    init("a.tsv")
    init("a.tsv", "-o", "second.yaml")
    assert (here / "second.yaml").read_text() == (here / "recipe.yaml").read_text()
    (here / "a-dev.tsv").write_text("changed")
    with pytest.raises(UsageError) as refusal:
        init("a.tsv", "-o", "third.yaml")
    assert str(refusal.value) == (
        "a-dev.tsv: exists; replace it with --force, or choose another folder, as in -o FOLDER/third.yaml: init writes "
        "the training and dev files beside the recipe."
    )


def test_class_names_with_commas_are_quoted_in_messages(here, capsys):
    write(here / "a.tsv", [(i, text, ("bad, sad", "good")[i % 2]) for i, text, _ in moods(60)])
    init("a.tsv")
    assert "(2 classes: 'bad, sad', good; guessed from its name)" in capsys.readouterr().err


def with_first_row(path, first):
    lines = [f"{text}\t{('pos', 'neg')[i % 2]}" for i, text in enumerate(sentences(60, 1))]
    path.write_text("\n".join([first, *lines]) + "\n")


@pytest.mark.parametrize("first", ["a film that is worth a look\tpos", "0\t1"])
def test_a_file_without_a_header_is_rejected_with_a_command_that_adds_one(here, first):
    with_first_row(here / "my h.tsv", first)
    with pytest.raises(UsageError) as refusal:
        init("my h.tsv", "--label", "mood")
    message = str(refusal.value)
    assert message.startswith("my h.tsv: the first row looks like data, not like names of columns (")
    command = message.partition("of your choice: ")[2].partition("; or if it is a header")[0]
    subprocess.run(["sh", "-c", command.replace("name1", "text").replace("name2", "mood")], check=True)
    init("with-header-my h.tsv")
    assert accepted("recipe.yaml")["with_header_my_h"].label == "mood"


def test_each_split_without_a_header_is_reported(here):
    with_first_row(here / "a-train.tsv", "a film that is worth a look\tpos")
    with_first_row(here / "a-dev.tsv", "not a film that is worth a look\tneg")
    with pytest.raises(UsageError) as refusal:
        init("a-train.tsv", "a-dev.tsv")
    assert [problem.partition(":")[0] for problem in refusal.value.problems] == ["a-train.tsv", "a-dev.tsv"]


@pytest.mark.parametrize(
    ("first", "options", "odd"),
    [("0\t1", ["--text", "0", "--label", "1"], True), ("text\tpos", [], True), ("text\tmood", [], False)],
)
def test_a_first_row_that_looks_like_data_is_a_header_if_its_names_are_usual_or_given(
    here, capsys, first, options, odd
):
    with_first_row(here / "h.tsv", first)
    init("h.tsv", *options)
    assert ("h.tsv: the first row looks like data, not like names of columns (" in capsys.readouterr().err) == odd


def test_a_problem_that_has_one_remedy_is_not_followed_by_another_one(here):
    (here / "old.csv").write_bytes(b"text,label\n" + "caf\u00e9 au lait,a\n".encode("latin-1") * 20)
    with pytest.raises(DataError) as refusal:
        init("old.csv")
    assert refusal.value.problems[-1] == "old.csv: has 20 bad rows."
    write(here / "quotes.tsv", [(f'"{text}" he said', "ab"[i % 2]) for i, text in enumerate(TWENTY)], ("text", "label"))
    with pytest.raises(DataError) as refusal:
        init("quotes.tsv")
    assert "add --quoting none" in refusal.value.problems[0]
    assert refusal.value.problems[-1] == "quotes.tsv: has 20 bad rows."


def test_the_header_is_doubted_if_rows_below_it_have_another_width(here):
    rows = [(i % 5, text) for i, text in enumerate(TWENTY)]
    write(here / "h.tsv", rows, (1, "a film that is worth a look", "x"))
    with pytest.raises(DataError, match=r"h.tsv: the first row looks like data, not like names of columns \('1', 'a"):
        init("h.tsv")


def flags(count):
    return [(i, text, i % 2, int(i % 5 == 0), int(i % 7 == 0)) for i, text in enumerate(sentences(count, 1))]


FLAGS = ("id", "comment", "toxic", "rude", "threat")


def test_several_columns_of_0_and_1_become_one_task(here, capsys):
    write(here / "j-train.tsv", flags(60), FLAGS)
    write(here / "j-dev.tsv", [(*row[:4], 0) for row in flags(20)], FLAGS)
    write(here / "j-test.tsv", [row[:2] for row in flags(20)], FLAGS[:2])
    init("j-train.tsv", "j-dev.tsv", "j-test.tsv")
    task = accepted("recipe.yaml")["j"]
    assert (task.text, task.label, task.head.kind, task.test) == (
        ["comment"], ["toxic", "rude", "threat"], "multi_label", None,
    )  # fmt: skip
    printed = capsys.readouterr().err
    assert "labels 'toxic', 'rude', 'threat' (3 labels for each row, one column of 0 and 1 for each; guessed" in printed
    assert "for one task for each of these columns, add --label toxic --label rude --label threat" in printed
    assert "label threat has no dev rows" in printed


def test_a_test_file_whose_columns_are_not_0_and_1_is_rejected(here):
    write(here / "j-train.tsv", flags(60), FLAGS)
    write(here / "j-test.tsv", [(*row[:4], -1) if row[0] == 3 else row for row in flags(20)], FLAGS)
    with pytest.raises(UsageError, match="j-test.tsv: 'threat' must be 0 or 1, but contains '-1'; .* add --missing -1"):
        init("j-train.tsv", "j-test.tsv")


def test_a_column_that_is_called_label_is_a_task_of_its_own(here):
    write(here / "j.tsv", flags(60), ("id", "comment", "label", "rude", "threat"))
    init("j.tsv")
    assert accepted("recipe.yaml")["j"].label == "label"


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "tsv"])
def test_lists_are_read_as_several_labels(here, ending):
    lists = [[], ["joy"], ["joy", "anger, rage"], ["fear"]]
    rows = [{"text": text, "labels": lists[i % 4], "tokens": text.split()} for i, text in enumerate(sentences(60, 1))]
    if ending == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), "e.parquet")
    elif ending == "jsonl":
        (here / "e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        write(here / "e.tsv", [(row["text"], row["labels"]) for row in rows], ("text", "labels"))
    init(f"e.{ending}")
    task = accepted("recipe.yaml")["e"]
    assert (task.text, task.label) == (["text"], "labels")
    assert task.head.options == {"labels": ["anger, rage", "fear", "joy"], "delimiter": ";"}
    read = read_examples(task.train, "e", task, task_labels({"e": task})["e"])
    assert {*read.labels} == {(0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)}


def test_texts_without_a_label_do_not_become_the_only_dev_rows(here):
    """The rows of dev are chosen by their hash; rows that would be skipped are left to training."""
    for seed in range(8):
        rows = [(text, ("", "", "", 1.5, 2.5)[i % 5]) for i, text in enumerate(sentences(20, seed))]
        write(here / "n.tsv", rows, ("text", "score"))
        init("n.tsv", "-F")
        assert accepted("recipe.yaml")


def test_a_dev_file_whose_labels_would_all_be_skipped_is_rejected(here):
    write(here / "n-train.tsv", [(text, i / 4) for i, text in enumerate(sentences(100, 1))], ("text", "score"))
    write(here / "n-dev.tsv", [(text, "unknown") for text in sentences(6, 2)], ("text", "score"))
    with pytest.raises(UsageError, match=r"n-dev.tsv: (has no labels in 'score'|'score' contains no numbers)"):
        init("n-train.tsv", "n-dev.tsv")
    write(here / "n-dev.tsv", [(text, ("?", "-")[i % 2]) for i, text in enumerate(sentences(6, 2))], ("text", "score"))
    with pytest.raises(UsageError, match=r"n-dev.tsv: 'score' contains no numbers, but other files do"):
        init("n-train.tsv", "n-dev.tsv")


@pytest.mark.parametrize(
    "files", [["ab_test.tsv"], ["ab_test.tsv", "mood.tsv"], ["mood.tsv", "contest.tsv", "ab_test.tsv"]]
)
def test_a_file_with_a_unique_name_is_a_training_file_even_if_the_name_ends_in_test(here, capsys, files):
    for file in files:
        write(here / file, moods(60))
    init(*files)
    assert sorted(accepted("recipe.yaml")) == sorted(file.removesuffix(".tsv") for file in files)
    remark = "ab_test.tsv: used as a training file, because no other file of task ab is named"
    assert remark in capsys.readouterr().err


@pytest.mark.parametrize(
    "files",
    [
        ("SICK_train.txt", "SICK_trial.txt", "SICK_test_annotated.txt"),
        ("train_SICK.txt", "dev_SICK.txt", "test_SICK.txt"),
        ("training-SICK.txt", "SICK.valid.txt", "SICK-test-public.txt"),
        ("SICK_train_set.txt", "SICK_validation_set.txt", "SICK.testing.txt"),
    ],
)
def test_published_names_of_splits_are_recognised_before_and_after_the_name(here, capsys, files):
    for number, file in enumerate(files):
        write(here / file, moods(60, number))
    init(*files)
    tasks = accepted("recipe.yaml")
    assert [(name, task.train, task.dev, task.test) for name, task in tasks.items()] == [
        ("sick", *(str(here / file) for file in files))
    ]
    assert "the columns of" not in capsys.readouterr().err


def test_a_header_with_another_delimiter_is_reported_with_the_option(here, capsys):
    for name, between in (("pipe", "|"), ("semicolon", ";")):
        other = "x" if name == "pipe" else "x, y"  # a comma is tried before a semicolon
        rows = [("text", other, "label"), *((text, other, mood) for _, text, mood in moods(60))]
        (here / f"{name}.csv").write_text("".join(between.join(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match="if pipe is the delimiter, add --delimiter pipe"):
        init("pipe.csv")
    init("semicolon.csv", "-o", "wrong.yaml")
    assert "if semicolon is the delimiter, add --delimiter semicolon" in capsys.readouterr().err
    init("pipe.csv", "--delimiter", "pipe")
    assert accepted("recipe.yaml")["pipe"].label == "label"


def test_the_files_of_all_splits_and_the_id_are_printed(here, capsys):
    write(here / "a_train.tsv", moods(60))
    write(here / "a_test.tsv", moods(20, 2))
    write(here / "b.tsv", [row[1:] for row in moods(60)], ("text", "kind"))
    write(here / "b-dev.tsv", [row[1:] for row in moods(60)], ("text", "kind"))
    init("a_train.tsv", "a_test.tsv", "b.tsv", "b-dev.tsv")
    printed = capsys.readouterr().err.splitlines()
    assert "  train a_split-train.tsv, dev a_split-dev.tsv, test a_test.tsv, id 'id'" in printed
    assert "  train b.tsv, dev b-dev.tsv, no test file, no id" in printed


def test_files_with_the_same_columns_get_a_note_about_splits(here, capsys):
    for file in ("mood.tsv", "eins.tsv", "zwei.tsv"):
        write(here / file, moods(60))
    write(here / "other.tsv", moods(60), ("id", "text", "kind"))
    init("mood.tsv", "eins.tsv", "zwei.tsv", "other.tsv")
    note = (
        "eins.tsv, zwei.tsv have the columns of mood.tsv: if they are other splits of the same task, rename: mood-dev"
    )
    printed = capsys.readouterr().err
    assert note in printed
    assert printed.count("the columns of") == 1


@pytest.mark.parametrize("name", ["m-test-student.csv", "blind.csv"])
@pytest.mark.parametrize("options", [[], ["--label", "sentiment"]])
def test_a_file_without_labels_and_with_another_header_is_left_out(here, capsys, name, options):
    rows = list(enumerate(sentences(60, 1)))
    for split in ("train", "dev"):
        (here / f"m-{split}.csv").write_text(
            "\tid\tsentence\tsentiment\n" + "".join(f"{i}\tk{i}\t{text}\t{i % 3}\n" for i, text in rows)
        )
    (here / name).write_text("\t\tid\tsentence\n" + "".join(f"{i}\t{i}.0\tk{i}\t{text}\n" for i, text in rows))
    init("m-train.csv", "m-dev.csv", name, *options)
    assert list(accepted("recipe.yaml")) == ["m"]
    assert f"{name}: has no labels and is left out of the recipe" in capsys.readouterr().err


def test_label_is_not_advised_if_it_was_given(here):
    write(here / "a.tsv", moods(60))
    write(here / "b.tsv", enumerate(sentences(60, 1)), ("id", "other"))
    with pytest.raises(UsageError, match="name it with --label"):
        init("a.tsv", "b.tsv")
    with pytest.raises(UsageError, match=r"b.tsv: has no column 'mood', and no other column looks like labels; leave"):
        init("a.tsv", "b.tsv", "--label", "mood")


def test_a_given_column_may_have_more_than_a_hundred_classes(here):
    write(here / "i.tsv", [(i, f"say {i}", f"intent {i % 150}") for i in range(300)])
    init("i.tsv", "--label", "mood")
    assert len(accepted("recipe.yaml")["i"].head.options["labels"]) == 150


def test_objects_without_a_label_or_a_text_are_skipped(here, capsys):
    records = [{"text": text, "mood": mood, "note": None} for _, text, mood in moods(60)]
    del records[3]["mood"], records[7]["text"], records[9]["note"]
    (here / "o.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    init("o.jsonl")
    assert accepted("recipe.yaml")["o"].on_bad_row == "skip"
    parts = [(here / f"o-{split}.jsonl").read_text().splitlines() for split in ("train", "dev")]
    assert sorted(parts[0] + parts[1]) == sorted(map(json.dumps, records))
    assert "'mood' is empty in 1 row, which is skipped" in capsys.readouterr().err


def test_an_id_that_repeats_is_not_used_and_this_is_reported(here, capsys):
    write(here / "u.tsv", [(f"user{i % 10}", text, mood) for i, text, mood in moods(60)])
    init("u.tsv")
    assert accepted("recipe.yaml")["u"].id is None
    assert "'id' repeats: it is not used as an id (id: null in the recipe)" in capsys.readouterr().err


ALPHABET = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")
NAMES = st.text(ALPHABET, min_size=1, max_size=6)
CELLS = st.one_of(
    st.sampled_from(["", "1", "1.0", "01", "007", "1E2", "100", "-3", "2,5", "1,234", "nan", "inf", "null", "no", "~",
                     "cafe\u0301", "caf\u00e9", "a|b", "a", "b", "\u200c", "x\u00a0y", "[1, 2]", "- a", "#", "1e-5"]),
    st.floats(allow_nan=False).map(str),
    st.integers(-50, 2_000).map(str),
    NAMES,
)  # fmt: skip


TEXTS = st.sampled_from(["some words", 'a "quoted" word', "two\nlines", "a tab\tin it", '"'])


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_recipe_that_init_writes_is_valid(data):
    """One file or three, any labels, with or without --label: init reports an error, or the recipe is valid."""
    cells = data.draw(st.lists(CELLS, min_size=1, max_size=20))
    header = [
        data.draw(st.sampled_from(["id", "key", "#1 ID"]) | NAMES),
        "text",
        data.draw(st.sampled_from(["label", "score", "kind", "#2 ID"])),
    ]
    with TemporaryDirectory() as name:
        folder = Path(name)
        splits = data.draw(st.sampled_from([["train"], ["train", "dev", "test"]]))
        files = [folder / f"t-{split}.tsv" for split in splits]
        for file in files:
            rows = data.draw(st.lists(st.sampled_from(cells), min_size=6, max_size=40))
            with file.open("w", newline="", encoding="utf-8") as out:
                texts = data.draw(st.lists(TEXTS, min_size=len(rows), max_size=len(rows)))
                lines = [[data.draw(NAMES), f"{texts[i]} {i}", cell] for i, cell in enumerate(rows)]
                csv.writer(out, delimiter="\t", lineterminator="\n").writerows([header, *lines])
        options = ["--label", header[2]] if data.draw(st.booleans()) else []
        options += data.draw(st.sampled_from([[], ["--quoting", "csv"]]))
        with contextlib.suppress(UsageError, DataError):
            init(*files, "-o", folder / "recipe.yaml", "-q", *options)
        if (folder / "recipe.yaml").exists():
            assert accepted(folder / "recipe.yaml")


@pytest.mark.parametrize("name", ["notes.csv", "notes.jsonl", "notes.parquet"])
def test_a_split_keeps_every_cell(here, name):
    texts = [
        f"{text}{end}{i}"
        for i, (text, end) in enumerate(zip(sentences(60, 5), ["\r", "\n", '"', "\t,;"] * 15, strict=True))
    ]
    rows = [[text, ("good", "bad")[i % 2]] for i, text in enumerate(texts)]
    if name == "notes.csv":
        with open("notes.csv", "w", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["text", "label"], *rows])
    elif name == "notes.jsonl":
        Path(name).write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    else:
        parquet.write_table(pyarrow.table({"text": texts, "label": [row[1] for row in rows]}), name)
    init(name)
    task = load_recipe("recipe.yaml").tasks["notes"]
    found = []
    for path in (task.train, task.dev):
        with Table(path) as table:
            found += [row.cells for row in table]
    assert sorted(found) == sorted(rows)


def test_warnings_about_quotes_are_printed(here, capsys):
    rows = "".join(f"{text},{('good', 'bad')[i % 2]}\n" for i, text in enumerate(sentences(40, 6)))
    (here / "notes.csv").write_text(f'text,label\n"Well, no\nit broke",bad\n{rows}')
    init("notes.csv")
    warning = (
        "notes.csv: a quoted cell spans lines 2 to 3, each of which could be a row by itself; if quotes are plain text"
    )
    assert warning in capsys.readouterr().err
