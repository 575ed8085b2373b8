"""Files as well-known data sets are published, with invented texts."""

import subprocess

import pytest
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.data.examples import read_examples
from mbert_cli.data.table import Table
from mbert_cli.errors import MbertError, UsageError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import task_labels


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, names, rows):
    path.write_text("\n".join("\t".join(map(str, row)) for row in [names, *rows]) + "\n")


def init(*words):
    """Write a recipe; return its tasks."""
    app(["init", *words], standalone_mode=False)
    return load_recipe("recipe.yaml").tasks


def labels_in(name, task):
    return read_examples(task.train, name, task, task_labels({name: task})[name]).labels


PAIRS = [*zip(sentences(60, 1), sentences(60, 2), strict=True)]
CLASSES = ("neutral", "entailment", "contradiction")


def write_snli(path):
    rows = [("-" if i % 10 == 7 else CLASSES[i % 3], *pair, f"{i}.jpg") for i, pair in enumerate(PAIRS)]
    write(path, ("gold_label", "sentence1", "sentence2", "pairID"), rows)


def test_rows_of_snli_without_a_label_are_skipped_with_the_option(here, capsys):
    write_snli(here / "snli.tsv")
    init("snli.tsv")
    remark = "- (6 rows) looks like a missing value, but is a class; if the label is missing there, add --missing -\n"
    assert remark in capsys.readouterr().err
    task = init("snli.tsv", "--missing", "-", "-F")["snli"]
    assert (task.head.options["labels"], task.on_bad_row) == (sorted(CLASSES), "skip")
    assert "'gold_label' is - in 6 rows, which are skipped" in capsys.readouterr().err
    assert len(labels_in("snli", task)) == 48  # of 60 rows, 6 have no label and 6, two of each class, are in dev
    with Table(task.dev) as dev:
        assert [row.cells[0] for row in dev.all_rows()].count("-") == 0


def test_a_missing_label_that_does_not_occur_is_rejected(here):
    write_snli(here / "snli.tsv")
    with pytest.raises(UsageError, match="--missing n/a: does not occur in 'gold_label'; correct it"):
        init("snli.tsv", "--missing", "n/a")


def test_labels_of_jigsaw_that_are_not_used_are_skipped_with_the_option(here):
    rows = [(i, one, *((-1, -1) if i % 3 == 0 else (i % 2, i % 5 % 2))) for i, (one, _) in enumerate(PAIRS)]
    write(here / "labels.tsv", ("id", "comment_text", "toxic", "threat"), rows)
    task = init("labels.tsv", "--missing", "-1")["labels"]
    assert (task.label, task.head.kind, task.on_bad_row) == (["toxic", "threat"], "multi_label", "skip")
    assert len(labels_in("labels", task)) < 40


def test_a_file_of_fasttext_is_rejected_with_a_command_that_converts_it(here):
    lines = [f"__label__{'ab'[i % 2]} {'__label__c ' if i % 3 else ''}{one}, and so on" for i, (one, _) in
             enumerate(PAIRS)]  # fmt: skip
    (here / "my train.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(
        UsageError, match="is in fastText's format, not a table with a header; convert it: awk"
    ) as refusal:
        init("my train.txt")
    command = refusal.value.problems[-1].partition("convert it: ")[2].removesuffix(".")
    assert "add a header" not in str(refusal.value)
    subprocess.run(["sh", "-c", command], check=True)
    with Table("my train.txt.tsv") as table:
        assert [row.cells for row in table.all_rows()][:2] == [
            ["a", f"{PAIRS[0][0]}, and so on"],
            ["b,c", f"{PAIRS[1][0]}, and so on"],
        ]


FOREIGN = {
    "TREC's questions": (
        [f"{('DESC:manner', 'HUM:ind')[i % 2]} {one}, or not ?" for i, (one, _) in enumerate(PAIRS)],
        ["DESC", "manner", f"{PAIRS[0][0]}, or not ?"],
    ),
    "the Financial PhraseBank": (
        [f"{one}, a {two} .@{('neutral', 'positive')[i % 2]}" for i, (one, two) in enumerate(PAIRS)],
        ["neutral", f"{PAIRS[0][0]}, a {PAIRS[0][1]} ."],
    ),
    "the STS benchmark": (
        ["\t".join(["main-news", "MSRpar", "2012test", f"{i:04}", f"{i % 5}.000", *pair, *["a source"] * (i % 2 * 2)])
         for i, pair in enumerate(PAIRS)],
        ["0.000", *PAIRS[0]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_in_another_format_is_rejected_with_a_command_that_converts_it(here, name):
    lines, first = FOREIGN[name]
    (here / "my train.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(MbertError, match=f"is in the format of {name}, not a table with a header; convert it: ") as no:
        init("my train.txt")
    command = no.value.problems[-1].partition("convert it: ")[2].removesuffix(".")
    subprocess.run(["sh", "-c", command], check=True)
    with Table("my train.txt.tsv") as table:
        assert next(row.cells for row in table.all_rows()) == first
    init("my train.txt.tsv")


def test_an_address_at_the_end_of_a_header_is_no_label(here):
    write(here / "a.tsv", ("text", "sent to@example"), [(one, "ab"[i % 2]) for i, (one, _) in enumerate(PAIRS)])
    assert init("a.tsv")["a"].label == "sent to@example"


def test_dev_of_mnli_is_recognised_and_only_one_dev_file_is_accepted(here):
    names, rows = (
        ("index", "sentence1", "sentence2", "gold_label"),
        [(i, *p, CLASSES[i % 3]) for i, p in enumerate(PAIRS)],
    )
    for file in ("train", "dev_matched", "dev_mismatched"):
        write(here / f"{file}.tsv", names, rows)
    assert init("train.tsv", "dev_matched.tsv")["task"].dev.endswith("dev_matched.tsv")
    with pytest.raises(UsageError, match="dev_mismatched.tsv: is the dev file of the same task as dev_matched.tsv;"):
        init("train.tsv", "dev_matched.tsv", "dev_mismatched.tsv", "-F")


def test_the_dev_split_has_a_tenth_of_each_label_of_a_set(here):
    rows = [(f"{one} {i}", "common" if i % 20 else "common,rare") for i, (one, _) in enumerate(PAIRS * 5)]
    rows += [(f"{one} alone", "alone") for one, _ in PAIRS[:5]]
    write(here / "tags.tsv", ("text", "labels"), rows)
    with Table(init("tags.tsv")["tags"].dev) as table:
        cells = [row.cells[1] for row in table.all_rows()]
    assert {cell: cells.count(cell) for cell in cells} == {"common": 28, "common,rare": 2, "alone": 1}


def test_time_zones_dates_and_names_are_not_a_second_text(here):
    zones = ["Eastern Time (US & Canada)", "Central European Time (Berlin)"]
    rows = [(one, "ab"[i % 2], zones[i % 2], f"02 {1 + i % 28}, 2014") for i, (one, _) in enumerate(PAIRS)]
    write(here / "tweets.tsv", ("body", "label", "zone", "when"), rows)
    assert init("tweets.tsv")["tweets"].text == ["body"]


def test_flags_that_are_written_differently_are_not_labels_of_the_same_task(here, capsys):
    rows = [(one, ("FALSE", "TRUE")[i % 7 == 0], i % 2, int(i % 3 == 0)) for i, (one, _) in enumerate(PAIRS)]
    write(here / "e.tsv", ("text", "is_unclear", "joy", "anger"), rows)
    assert init("e.tsv")["e"].label == ["joy", "anger"]
    assert "could also be labels: is_unclear; to choose them instead, add --label is_unclear" in capsys.readouterr().err


def test_a_file_of_ids_and_labels_gets_no_advice_to_read_them_as_texts(here):
    write(here / "test_labels.csv", ("id", "toxic", "threat"), [(f"x{i}", i % 2, -1) for i in range(60)])
    with pytest.raises(UsageError, match="only like ids and labels; leave the file out, or add a column of texts"):
        init("test_labels.csv")
