"""The options of a task that change its training: their mistakes, their warnings, and its share of an epoch."""

import numpy as np
import pytest
import tiny

from mbert_cli.errors import RecipeError
from mbert_cli.model.components import kinds, load_recipe
from mbert_cli.recipe.differences import differences
from mbert_cli.recipe.training_options import rate_warnings, training_options
from mbert_cli.training.checks import check_recipe
from mbert_cli.training.phases import RunPhases

SIZES = {"mood": 100, "same": 40, "near": 20}
MOOD = "tasks.mood.head={kind: classification, labels: [low, mid, high], "


@pytest.fixture(scope="module")
def recipe_file(tiny_checkpoint, tiny_files, tmp_path_factory):
    return tiny.write_recipe(tmp_path_factory.mktemp("options") / "recipe.yaml", tiny_checkpoint, tiny_files)


MISTAKES = {
    "training.accumulate=0": "training.accumulate must be at least 1, but is 0.",
    "training.accumulate=9": "training.accumulate is 9, but training.batch_size is 8, and each micro-batch needs a "
    "row; set accumulate to at most 8.",
    "training.accumulate=auto": "training.accumulate must be a whole number, but is 'auto'.",
    "training.gradient_accumulation_steps=4": "is not a known key; did you mean 'accumulate'?",
    "training.early_stopping=3": "is not a known key; did you mean 'patience'?",
    "training.report_to=tensorboard": "is not a known key; did you mean 'track'?",
    "training.max_time=30 min": "training.max_time must be a time such as 45s, 30min or 2h, but is '30 min'.",
    "training.max_time=half an hour": "training.max_time must be a time such as 45s, 30min or 2h, but is ",
    "training.max_steps=1e3": "training.max_steps must be a whole number, but is 1000.0; write 1000.",
    "training.windows={stride: 4}": "training.windows is not a key of this section; write tasks.NAME.windows.",
    "training.loss_weight=2": "training.loss_weight is not a key of this section; write tasks.NAME.loss_weight.",
    "tasks.mood.label=[mood]": "tasks.mood.label must be the name of a column, or a list of at least two names, but is",
    "tasks.mood.label=[mood,mood]": "tasks.mood.label must name each column once, but is ['mood', 'mood'].",
    "tasks.mood.learning_rate=0": "tasks.mood.learning_rate must be greater than 0, but is 0.",
    "tasks.mood.loss_weight=-1": "tasks.mood.loss_weight must be greater than 0, but is -1.",
    "tasks.mood.loss_weight=.inf": "tasks.mood.loss_weight must be a finite number",
    "tasks.mood.epoch_share=0": "tasks.mood.epoch_share must be greater than 0, but is 0.",
    "tasks.mood.epochs_share=2": "tasks.mood.epochs_share is not a known key; did you mean 'epoch_share'?",
    MOOD + "label_smoothing: 1}": "tasks.mood.head.label_smoothing must be less than 1, but is 1.",
    MOOD + "focal: -1}": "tasks.mood.head.focal must be at least 0, but is -1.",
    MOOD + "focal: 2, label_smoothing: 0.1}": "tasks.mood.head.focal is 2, but label_smoothing is 0.1; remove one of",
    "tasks.mood.head={kind: ordinal, labels: [low, mid, high], focal: 2}": "tasks.mood.head.focal is not a known key",
    "tasks.near.head={kind: cosine_similarity, label_smoothing: 0.1}": "tasks.near.head.label_smoothing is not a known",
}  # fmt: skip


@pytest.mark.parametrize("setting", MISTAKES)
def test_a_mistake_is_reported_in_one_line(recipe_file, setting):
    several = ["tasks.mood.head={kind: multi_label}"] if "label=[" in setting else []
    with pytest.raises(RecipeError) as refusal:
        check_recipe(load_recipe(str(recipe_file), [*several, setting]))
    (line,) = refusal.value.problems
    assert MISTAKES[setting] in line


def test_a_learning_rate_of_a_task_that_is_far_too_high_is_reported(recipe_file):
    recipe = load_recipe(str(recipe_file), ["tasks.mood.learning_rate=0.5"])
    (warning,) = rate_warnings(recipe)
    assert warning.startswith("tasks.mood.learning_rate is 0.5: training rarely succeeds above 0.1;")
    assert rate_warnings(load_recipe(str(recipe_file), ["tasks.mood.learning_rate=0.1"])) == []


def test_reports_and_cards_list_the_options_that_differ_from_the_defaults(recipe_file):
    assert training_options(load_recipe(str(recipe_file), [])) == {}
    settings = [
        "training.accumulate=4",
        "tasks.mood.loss_weight=2",
        "tasks.same.head={kind: pair_classification, focal: 2}",
        "tasks.same.learning_rate=1e-4",
    ]
    assert training_options(load_recipe(str(recipe_file), settings)) == {
        "batches": "8 rows in 4 micro-batches",
        "training of mood": "loss_weight 2",
        "training of same": "learning_rate 0.0001, focal 2",
    }


def test_only_a_new_key_with_its_default_is_no_difference():
    """A run of an older version does not have the key."""
    then = {"training.epochs": 2, "tasks.a.text": ["t"]}
    new = {"training.accumulate": 1, "tasks.a.epoch_share": 1.0, "tasks.a.learning_rate": None}
    assert differences(then, then | new) == []
    changed = {"training.accumulate": 4, "tasks.a.epoch_share": 0.5, "hardware.cores": 4}
    assert differences(then, then | changed) == [
        "training.accumulate was None and is now 4",
        "tasks.a.epoch_share was None and is now 0.5",
        "hardware.cores was None and is now 4",
    ]
    assert differences(then | {"training.accumulate": 4}, then | new) == ["training.accumulate was 4 and is now 1"]


# The share of an epoch


def phases_of(recipe_file, *settings):
    return RunPhases(load_recipe(str(recipe_file), settings), SIZES)


def rows_of(phases, epoch):
    """Return the number of rows that each task reads in an epoch."""
    counts = dict.fromkeys(SIZES, 0)
    for phase in phases.of_epoch(epoch):
        for step in phase.batches(SIZES, 8, 1, epoch):
            for task, rows in step.items():
                counts[task] += len(rows)
    return counts


@pytest.mark.parametrize(
    ("curriculum", "share", "expected"),
    [
        ("sequential", 0.25, {"mood": 25, "same": 40, "near": 20}),
        ("sequential", 2, {"mood": 200, "same": 40, "near": 20}),
        ("sequential", 1e-9, {"mood": 1, "same": 40, "near": 20}),
        ("hybrid", 0.25, {"mood": 25, "same": 40, "near": 20}),
        ("proportional", 0.25, {"mood": 25, "same": 40, "near": 20}),
        ("proportional", 2, {"mood": 200, "same": 40, "near": 20}),
        ("simultaneous", 0.25, {"mood": 25, "same": 25, "near": 25}),  # the second largest of 25, 40 and 20
        ("{kind: round_robin, match: largest}", 0.5, {"mood": 50, "same": 50, "near": 50}),
    ],
)
def test_an_epoch_reads_a_share_of_the_rows_of_a_task(recipe_file, curriculum, share, expected):
    phases = phases_of(recipe_file, f"curriculum={curriculum}", f"tasks.mood.epoch_share={share}")
    assert rows_of(phases, 1) == expected


@pytest.mark.parametrize("curriculum", ["square_root", "annealed", "temperature"])
def test_a_smaller_share_gives_a_task_fewer_steps(recipe_file, curriculum):
    whole, share = (
        rows_of(phases_of(recipe_file, f"curriculum={curriculum}", f"tasks.mood.epoch_share={each}"), 1)
        for each in (1, 0.1)
    )
    assert share["mood"] < whole["mood"] / 2


@pytest.mark.parametrize("curriculum", kinds("curricula"))
def test_with_a_share_of_one_an_epoch_is_unchanged(recipe_file, curriculum):
    phases = phases_of(recipe_file, f"curriculum={curriculum}", "tasks.mood.epoch_share=1")
    expected = phases._curriculum.phases(2, SIZES, 8)
    assert phases.of_epoch(2) == expected


def test_each_epoch_reads_another_sample_without_replacement(recipe_file):
    phases = phases_of(recipe_file, "curriculum=sequential", "tasks.mood.epoch_share=0.25")
    samples = []
    for epoch in (1, 2):
        steps = phases.of_epoch(epoch)[0].batches(SIZES, 8, 1, epoch)
        samples.append(np.concatenate([step["mood"] for step in steps]))
    assert all(len({*sample.tolist()}) == 25 and sample.max() > 25 for sample in samples)
    assert {*samples[0].tolist()} != {*samples[1].tolist()}
