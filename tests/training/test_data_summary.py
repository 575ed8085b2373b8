import pytest

from mbert_cli.cli import app
from mbert_cli.data.labels import ClassLabels, ScaleLabels, UnboundedLabels
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import encoder_shape
from mbert_cli.terminal.console import Console
from mbert_cli.training.data_summary import data_facts, label_remarks
from mbert_cli.training.datasets import read_training_examples, tokenise_examples


@pytest.fixture
def facts(tiny_recipe):
    def found(*settings, limit=None):
        recipe = load_recipe(str(tiny_recipe), settings)
        examples = read_training_examples(recipe, limit, Console(quiet=True))
        data, _ = tokenise_examples(recipe, examples, encoder_shape(recipe.encoder), Console(quiet=True))
        return data_facts(recipe, examples, data)

    return found


def test_facts_of_classes(facts, tiny_files):
    mood = facts()["mood"]
    labels = [line.split("\t")[-1] for line in (tiny_files / "mood-train.tsv").read_text().splitlines()[1:]]
    assert (mood.train, mood.dev, mood.bad, mood.batches) == (20, 9, 0, 3)
    assert mood.shares == {name: labels.count(name) / 20 for name in ("low", "mid", "high")}
    assert mood.labels() == "mid 45%, low 35%, high 20%"


def test_facts_of_numbers(facts, tiny_files):
    near = facts()["near"]
    labels = [float(line.split("\t")[-1]) for line in (tiny_files / "near-train.tsv").read_text().splitlines()[1:]]
    assert near.shares is None
    assert near.span == pytest.approx((min(labels), sum(labels) / len(labels), max(labels)))


def test_a_row_with_two_cut_sentences_counts_once(facts):
    # All but one of the 30 pairs have a sentence with more than one word; most have two.
    assert facts("training.max_length=3")["same"].cut == 29 / 30
    assert facts()["same"].cut == 0.0


def test_skipped_rows_are_counted(facts, tiny_files, tmp_path):
    broken = tmp_path / "broken.tsv"
    broken.write_text((tiny_files / "mood-train.tsv").read_text() + "x\tmood without a class\tnone\n" * 2)
    assert facts(f"tasks.mood.train={broken}", "tasks.mood.on_bad_row=skip")["mood"].bad == 2


ABC = ClassLabels(["a", "b", "c", "b|c"])


@pytest.mark.parametrize(
    ("labels", "train", "dev", "expected"),
    [
        (ClassLabels(["a", "b"]), [0, 1], [1, 0], []),
        (
            ClassLabels({"0": "no", "1": "yes", "2": "none"}),
            [0, 1],
            [1, 0],
            ["neither file has a row with 2;"],
        ),
        (
            ClassLabels([str(number) for number in range(20)]),
            [*range(12)],
            [*range(12)],
            ["a row with 12, 13, 14, 15, 16, 17 and 2 more"],
        ),
        (
            ABC,
            [0, 1, 2, 3],
            [0, 1, 2],
            ["'b|c' looks like a list of labels", "class b|c has no dev rows, so it counts as 0 in macro averages"],
        ),
        (ClassLabels(["a", "NaN"]), [0, 1, 1], [1, 0], ["NaN (3 rows) looks like a missing value, but is a class;"]),
        (
            ClassLabels(["a", "-"]),
            [0, 1, 1],
            [1, 0],
            ["- (3 rows) looks like a missing value, but is a class;"],
        ),  # SNLI
        (ScaleLabels(0.0, 5.0), [0.0, 4.0], [1.0], []),
        (UnboundedLabels(), [-900.0, 4.0], [1e6], []),
        (UnboundedLabels(), [7.0, 7.0], [1.0], ["all labels of the training file are 7: there is nothing to learn"]),
        (
            ScaleLabels(0.0, 100.0),
            [0.0, 4.5],
            [1.0],
            ["from 0 to 100, but labels of the training file are at most 4.5"],
        ),
        (
            ScaleLabels(-5.0, 5.0),
            [1.0, 4.5],
            [1.0],
            ["from -5 to 5, but labels of the training file are at least 1;"],
        ),
    ],
)
def test_unusual_labels_give_warnings(labels, train, dev, expected):
    remarks = label_remarks(labels, [*map(float, train)], [*map(float, dev)])
    assert len(remarks) == len(expected)
    for remark, part in zip(remarks, expected, strict=True):
        assert part in remark


def test_rows_that_a_limit_leaves_out_give_no_warning_about_labels(facts):
    words = ["tasks.mood.head.labels=[low,mid,high,none]", "tasks.near.head.scale=50"]
    assert sum("neither file" in each for each in facts(*words)["mood"].remarks) == 1
    limited = facts(*words, limit=1)
    assert [each.unseen + each.remarks for each in limited.values()] == [[], [], []]


def test_unusual_labels_and_learning_rates_are_reported_before_training(tiny_recipe, capsys):
    words = ["tasks.mood.head.labels=[low,mid,high,none]", "tasks.near.head.scale=50", "training.learning_rate=5"]
    words += ["loss_balancing=famo", "tasks.same.loss_weight=2"]
    app(["validate", str(tiny_recipe), "--no-measure", *words], standalone_mode=False)
    printed = " ".join(capsys.readouterr().err.split())
    assert "tasks.same.loss_weight has little effect: loss_balancing famo learns weights that cancel it;" in printed
    assert "task mood: neither file has a row with none; remove it from labels, or correct" in printed
    assert "?." not in printed
    assert "task near: the scale runs from 0 to 50, but labels of the training file are at most " in printed
    assert "training.learning_rate is 5: training rarely succeeds above 0.01" in printed


def test_the_advice_about_cut_rows_depends_on_the_positions_of_the_encoder(facts):
    mood = facts("training.max_length=3")["mood"]
    (known,) = [each for each in mood.warnings("mood", LengthLimits(3, 512)) if "are cut" in each]
    assert known.endswith("larger training.max_length (this encoder reads up to 512 tokens)")
    (most,) = [each for each in mood.warnings("mood", LengthLimits(3, 3)) if "are cut" in each]
    assert most.endswith("this encoder reads no more than 3 tokens; shorten the texts or use another encoder")


def test_a_warning_about_a_file_that_several_splits_read_is_printed_once(tiny_recipe, tmp_path, capsys):
    path = tmp_path / "shared.csv"
    path.write_text('text,mood\n"yes, no",low\n"Hi Bob,\nthanks for it",high\ncat,mid\n')
    recipe = load_recipe(
        str(tiny_recipe), [f"tasks.mood.{each}={path}" for each in ("train", "dev")] + ["tasks.mood.id=null"]
    )
    read_training_examples(recipe, None, Console())
    assert capsys.readouterr().err.count("a quoted cell spans lines 3 to 4") == 1
