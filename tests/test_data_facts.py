import pytest

from mbert_cli.compose import encoder_shape, load_recipe
from mbert_cli.data_facts import data_facts
from mbert_cli.progress import Talk
from mbert_cli.training_data import read_training_examples, tokenise_examples


@pytest.fixture
def facts(tiny_recipe):
    def found(*settings):
        recipe = load_recipe(str(tiny_recipe), settings)
        examples = read_training_examples(recipe, None, Talk(quiet=True))
        data, _ = tokenise_examples(recipe, examples, encoder_shape(recipe.encoder), Talk(quiet=True))
        return data_facts(recipe, examples, data)

    return found


def test_facts_of_classes(facts, tiny_files):
    mood = facts()["mood"]
    labels = [line.split("\t")[-1] for line in (tiny_files / "mood-train.tsv").read_text().splitlines()[1:]]
    assert (mood.train, mood.dev, mood.bad, mood.batches) == (20, 9, 0, 3)
    assert mood.shares == {name: labels.count(name) / 20 for name in ("low", "mid", "high")}
    assert mood.labels() == "mid 45% low 35% high 20%"


def test_facts_of_numbers(facts, tiny_files):
    near = facts()["near"]
    labels = [float(line.split("\t")[-1]) for line in (tiny_files / "near-train.tsv").read_text().splitlines()[1:]]
    assert near.shares is None
    assert near.span == pytest.approx((min(labels), sum(labels) / len(labels), max(labels)))


def test_a_row_counts_as_cut_once_though_both_its_sentences_are(facts):
    # All but one of the 30 pairs have a sentence of more than a word, most have two.
    assert facts("training.max_length=3")["same"].cut == 29 / 30
    assert facts()["same"].cut == 0.0


def test_rows_that_are_left_out_are_counted(facts, tiny_files, tmp_path):
    broken = tmp_path / "broken.tsv"
    broken.write_text((tiny_files / "mood-train.tsv").read_text() + "x\tmood without a class\tnone\n" * 2)
    assert facts(f"tasks.mood.train={broken}", "tasks.mood.on_bad_row=skip")["mood"].bad == 2
