import json

import pytest
from huggingface_hub import ModelCard

from mbert_cli.cli import app
from mbert_cli.model.model_card import hub_datasets
from mbert_cli.recipe.sections import Component, TaskSection


@pytest.fixture
def card(tiny_recipe, tmp_path):
    def made(*settings):
        run = tmp_path / "run"
        app(
            ["train", str(tiny_recipe), *settings, "-o", str(run), "-q", "-F", "training.epochs=1"],
            standalone_mode=False,
        )
        return ModelCard.load(run / "model" / "README.md"), json.loads((run / "metrics.jsonl").read_text())

    return made


def test_the_metadata_have_the_scores_on_dev(card):
    found, line = card("card.license=mit", "card.language=en", "card.title=Moods")
    assert (found.data.license, found.data.language, found.data.model_name) == ("mit", "en", "Moods")
    scores = {(each.task_name, each.metric_type): each.metric_value for each in found.data.eval_results}
    assert scores["mood", "accuracy"] == line["tasks"]["mood"]["accuracy"]
    assert scores["near", "pearson"] == line["tasks"]["near"]["pearson"]
    assert {each.dataset_name for each in found.data.eval_results} == {"mood-dev.tsv", "same-dev.tsv", "near-dev.tsv"}
    assert "low_rank" in found.data.tags
    assert "# Moods" in found.text
    assert "| mood | text | low, mid, high | accuracy " in found.text


def test_a_card_names_no_folder_of_the_machine_and_no_license_unless_the_recipe_has_one(card, tiny_checkpoint):
    found, _ = card()
    assert str(tiny_checkpoint.parent) not in found.content
    assert found.data.license is None
    assert found.data.base_model is None


def test_a_card_has_the_description_and_the_data_sets_of_the_recipe(card):
    settings = ["training.accumulate=2", "tasks.mood.loss_weight=2"]
    found, _ = card("card.description=For toys only.", "card.datasets=[me/toys, you/toys]", *settings)
    assert "\n- batches: 8 rows in 2 micro-batches\n- training of mood: loss_weight 2\n" in found.text
    assert found.data.datasets == ["me/toys", "you/toys"]
    assert "\n\nFor toys only.\n\n" in found.text
    assert "| mood-train.tsv |" in found.text


def test_each_data_set_of_the_hub_is_listed_once():
    def task(train):
        return TaskSection(train=train, dev="dev.tsv", text=["a"], label="b", head=Component(kind="classification"))

    tasks = {"a": task("hub:me/toys/small#train"), "b": task("hub:me/toys#train"), "c": task("c.tsv")}
    assert hub_datasets(tasks, ["you/toys"]) == ["you/toys", "me/toys"]


def test_line_ends_in_names_are_escaped(card):
    found, _ = card('card.title="a\\nb|c"')
    assert "# a\\nb" in found.text
