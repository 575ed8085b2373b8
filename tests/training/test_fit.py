import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from crashes import contents
from tiny_runs import losses_after, options, train

from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.errors import CheckpointError, NotFiniteError, RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import build_model, encoder_shape
from mbert_cli.model.saved_model import read_model
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.recipe.sections import TrainingSection
from mbert_cli.storage.atomic import check_folder, sha256_of
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.fit import fit, prepare
from mbert_cli.training.optimizer import learning_rate_factor, make_optimizer
from mbert_cli.training.selection import selected
from mbert_cli.training.step import OptimizerStep


@pytest.fixture(autouse=True)
def made_folders(tmp_path):
    """The command creates the run folder when it takes the lock. These tests take no lock."""
    for name in "abc":
        (tmp_path / name).mkdir()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("curriculum", ["hybrid", "sequential", "simultaneous"])
def test_a_repeated_run_is_byte_identical(tiny_recipe, tmp_path, curriculum, precision):
    for name in ("a", "b"):
        train(tiny_recipe, tmp_path / name, f"curriculum={curriculum}", precision=precision)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_seed_gives_another_model(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a")
    train(tiny_recipe, tmp_path / "b", "training.seed=1")
    tasks = [contents(tmp_path / name)["model/tasks/same.safetensors"] for name in "ab"]
    assert tasks[0] != tasks[1]


def snapshot(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_sequential_phases_of_hybrid_change_only_the_parameters_of_the_task(tiny_recipe, tmp_path, monkeypatch):
    steps = []
    take_step = OptimizerStep.__call__

    def watched(self, rows):
        before = snapshot(self.model)
        losses = take_step(self, rows)
        after = snapshot(self.model)
        index = {name: i for i, name in enumerate(self.model.task_names)}
        own = tuple(f"_parts.{index[task]}." for task in rows)
        steps.append(
            (self.state.epoch + 1, tuple(rows), own, {n for n in after if not torch.equal(before[n], after[n])})
        )
        return losses

    monkeypatch.setattr(OptimizerStep, "__call__", watched)
    train(tiny_recipe, tmp_path / "a", "training.head_learning_rate=0.01")
    sequential = [step for step in steps if step[0] == 1]
    assert [tasks for _, tasks, _, _ in sequential] == [("mood",)] * 3 + [("same",)] * 4 + [("near",)] * 2
    for _, tasks, own, changed in sequential:
        assert changed, tasks
        assert all(name.startswith(own) for name in changed)
    simultaneous = [step for step in steps if step[0] == 2]
    assert [tasks for _, tasks, _, _ in simultaneous] == [("mood", "same", "near")] * 3  # 20 rows in batches of 8
    moved = set.union(*(changed for *_, changed in simultaneous))
    assert {name.split(".")[0] for name in moved} == {"encoder", "_parts"}


def test_sequential_alone_trains_the_encoder(tiny_recipe, tmp_path):
    best = train(tiny_recipe, tmp_path / "a", "curriculum=sequential", "training.epochs=1")
    assert best.epoch == 1
    assert (tmp_path / "a" / "model" / "encoder" / "model.safetensors").exists()


def test_an_untrained_encoder_is_saved_as_a_reference_with_its_sha256(tiny_recipe, tiny_checkpoint, tmp_path):
    from mbert_cli.model.saved_model import read_model

    train(tiny_recipe, tmp_path / "a", "training.epochs=1")
    assert not (tmp_path / "a" / "model" / "encoder" / "model.safetensors").exists()
    config = json.loads((tmp_path / "a" / "model" / "config.json").read_text())
    assert config["encoder_sha256"] == sha256_of(tiny_checkpoint / "model.safetensors")
    assert read_model(tmp_path / "a").model.task_names == ("mood", "same", "near")


def test_the_run_folder_describes_itself(tiny_recipe, tmp_path):
    best = train(tiny_recipe, tmp_path / "a")
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert best.as_dict() in lines
    assert max(lines, key=lambda line: line["overall"])["epoch"] == best.epoch
    assert set(lines[0]["tasks"]["mood"]) >= {"accuracy", "precision", "recall", "f1", "confusion", "loss"}
    assert set(lines[0]["tasks"]["near"]) >= {"pearson", "spearman", "mse", "mae", "dead_pairs"}
    check_folder(tmp_path / "a" / "model")
    train(tmp_path / "a" / "recipe.yaml", tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_run_folder_has_the_evaluation_and_figures_of_the_kept_model(tiny_recipe, tmp_path, figures):
    best = train(tiny_recipe, tmp_path / "a", "training.epochs=4", "training.select=near.mse")
    kept = RunFolder(tmp_path / "a").evaluation
    check_folder(kept)
    metrics = json.loads((kept / "metrics.json").read_text())
    assert (metrics["epoch"], metrics["split"], metrics["overall"]) == (best.epoch, "dev", best.overall)
    for task, found in metrics["tasks"].items():
        file = found.pop("file")
        assert file.endswith(f"{task}-dev.tsv")
        assert found.pop("sha256") == sha256_of(Path(file))
        assert found == best.tasks[task]
    # The confusion matrix, counted from the predictions, is that of the model in model/.
    with (kept / "mood_predictions.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = ["low", "mid", "high"]
    counts = [[sum((row["label"], row["pred"]) == (t, p) for row in rows) for p in names] for t in names]
    assert counts == metrics["tasks"]["mood"]["confusion"]
    lines = Path(load_recipe(str(tiny_recipe)).tasks["mood"].dev).read_text().splitlines()
    assert [row["label"] for row in rows] == [lines[int(row["line"]) - 1].split("\t")[-1] for row in rows]
    predicted = Predictor(tmp_path / "a", device="cpu", precision="fp32")(
        {"text": [lines[int(row["line"]) - 1].split("\t")[1] for row in rows]}, task="mood"
    )
    assert predicted["pred"] == [row["pred"] for row in rows]
    assert sorted(path.name for path in RunFolder(tmp_path / "a").figures.glob("*.png")) == [
        "curves.png",
        "mood_confusion.png",
        "near_scatter.png",
        "same_confusion.png",
    ]


def test_a_run_ends_normally_if_its_figures_cannot_be_drawn(tiny_recipe, tmp_path, monkeypatch, figures):
    def broken(*_):
        raise OSError("no fonts")

    monkeypatch.setattr("mbert_cli.reports.figures.draw", broken)
    assert train(tiny_recipe, tmp_path / "a", "training.epochs=1").epoch == 1
    assert not RunFolder(tmp_path / "a").figures.exists()
    assert RunFolder(tmp_path / "a").evaluation.exists()


@pytest.mark.parametrize(
    ("curriculum", "phases"),
    [
        ("hybrid", ["sequential", "simultaneous"]),
        ("sequential", ["sequential"] * 2),
        ("simultaneous", ["simultaneous"] * 2),
        ("round_robin", ["alternating"] * 2),
    ],
)
def test_metrics_record_how_each_epoch_combined_the_tasks(tiny_recipe, tmp_path, curriculum, phases):
    train(tiny_recipe, tmp_path / "a", f"curriculum={curriculum}")
    assert [line.phases for line in RunFolder(tmp_path / "a").read_metrics()] == phases


@pytest.mark.parametrize("select", ["near.mse", "same.f1", "mood.loss"])
def test_the_best_model_is_selected_by_the_chosen_metric(tiny_recipe, tmp_path, select):
    best = train(tiny_recipe, tmp_path / "a", f"training.select={select}", "training.epochs=5")
    task, metric = select.split(".")
    values = [line.tasks[task][metric] for line in RunFolder(tmp_path / "a").read_metrics()]
    assert best.tasks[task][metric] == (max if metric == "f1" else min)(values)


@pytest.mark.parametrize(
    ("share", "epochs", "early"),
    [(0, 6, 0), (0.5, 6, 3), (0.5, 7, 3), (0.29, 100, 29), (0.5, 1, 0), (0.9999999999, 1, 0)],
)
def test_select_after_excludes_a_share_of_the_epochs_and_never_all(share, epochs, early):
    assert TrainingSection(select_after=share, epochs=epochs).early_epochs == early


def test_epochs_excluded_by_select_after_are_not_scored_and_not_kept(tiny_recipe, tmp_path, monkeypatch, capsys):
    scores = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr("mbert_cli.training.loop.selected", lambda found, select: next(scores))
    recipe = load_recipe(str(tiny_recipe), ["training.select_after=0.4", "training.epochs=5"])
    best = fit(recipe, RunFolder(tmp_path / "a"), options(console=Console()))
    assert best.epoch == 4
    lines = RunFolder(tmp_path / "a").read_metrics()
    assert [line.epoch for line in lines if line.best] == [3, 4]
    assert [(line.tasks, line.overall) for line in lines[:2]] == [({}, None)] * 2
    assert all(set(line.tasks) == {"mood", "same", "near"} for line in lines[2:])
    printed = capsys.readouterr().err
    shown = dict(re.findall(r"epoch (\d)/5: (.*); \d+ s\n", printed))
    assert list(shown) == ["1", "2", "3", "4", "5"]
    losses = r"train loss mood \d\.\d{3}, same \d\.\d{3}, near \d\.\d{3}; "
    assert re.fullmatch(losses + "not scored: select_after excludes this epoch", shown["1"])
    scores = r"dev mood accuracy \d\.\d{3}, same accuracy \d\.\d{3}, near pearson -?\d\.\d{3}; overall \d\.\d{3}"
    assert re.fullmatch(losses + scores + r" \(best\)", shown["3"])
    assert re.fullmatch(losses + scores, shown["5"])
    assert printed.count("not scored: select_after excludes this epoch") == 2
    kept = json.loads((RunFolder(tmp_path / "a").evaluation / "metrics.json").read_text())
    assert kept["epoch"] == 4


def test_training_learns_which_words_decide_the_label(tiny_recipe, tmp_path):
    """Moods that a single word decides are learned. A model that ignores its input has an accuracy of a third."""
    for split, count in (("train", 120), ("dev", 60)):
        rng = np.random.default_rng(len(split))
        rows = [
            f"the {rng.choice(['cat', 'dog'])} is {word}\t{mood}"
            for word, mood in rng.permutation(
                [("good", "high"), ("bad", "low"), ("red", "mid")] * (count // 3)
            ).tolist()
        ]
        (tmp_path / f"{split}.tsv").write_text("text\tmood\n" + "\n".join(rows) + "\n")
    settings = [f"tasks.mood.{split}={tmp_path / split}.tsv" for split in ("train", "dev")]
    best = train(
        tiny_recipe,
        tmp_path / "a",
        *settings,
        "tasks.same=null",
        "tasks.near=null",
        "curriculum=simultaneous",
        "training.epochs=8",
        "training.learning_rate=3e-3",
    )
    assert best.tasks["mood"]["accuracy"] > 0.9


def test_a_loss_that_is_not_finite_stops_before_the_update(tiny_recipe, tmp_path):
    with pytest.raises(
        NotFiniteError, match=r"epoch 1 of 9, step \d+: the loss of task mood is (nan|inf).*rows at lines"
    ):
        train(
            tiny_recipe, tmp_path / "a", "training.learning_rate=1e30", "training.clip_norm=null", "training.epochs=9"
        )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tasks.mood.train=nope.tsv", "tasks.mood.train: there is no file .*nope.tsv"),
        ("tasks.same.text=one", "tasks.same.text must name 2 column"),
        ("training.max_length=49", "training.max_length must be at most 48"),
        ("encoder.reinitialise=3", "encoder.reinitialise must be at most 2, the encoder's layers, or all"),
        ("training.select=mood.acuracy", "is 'mood.acuracy'; did you mean 'mood.accuracy'"),
    ],
)
def test_a_recipe_is_checked_before_weights_are_loaded(tiny_recipe, tmp_path, monkeypatch, setting, message):
    monkeypatch.setattr("mbert_cli.training.setup.load_encoder", lambda *_: pytest.fail("loaded weights"))
    with pytest.raises(RecipeError, match=message):
        train(tiny_recipe, tmp_path / "a", setting)
    assert contents(tmp_path / "a") == {}


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tiny_recipe, tiny_checkpoint, tmp_path):

    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"vocab_size": 30}))
    with pytest.raises(CheckpointError, match="ids, but the encoder embeds 30"):
        train(tiny_recipe, tmp_path / "a", f"encoder.checkpoint={copy}")


@pytest.mark.parametrize(("chosen", "fresh"), [("0", 0), ("1", 1), ("2", 2), ("all", "all")])
def test_reinitialised_layers_start_from_random_values(tiny_recipe, tiny_checkpoint, tmp_path, chosen, fresh):
    pretrained, _ = load_encoder(tiny_checkpoint, read_shape(tiny_checkpoint))
    settings = (f"encoder.reinitialise={chosen}", "training.freeze_encoder=true", "training.epochs=1")
    train(tiny_recipe, tmp_path / "a", *settings)
    found = read_model(tmp_path / "a").model.encoder
    kept = {name for name, value in found.state_dict().items() if value.equal(pretrained.state_dict()[name])}
    # LayerNorms and biases of the tiny checkpoint are random, too, so that every value of a fresh part has changed.
    for name in found.state_dict():
        of_layer = int(name.split(".")[1]) if name.startswith("layers.") else -1
        assert (name not in kept) is (fresh == "all" or (of_layer >= 2 - int(fresh))), name
    for layer in [found.layers[-1]] if fresh else []:
        assert layer.output.weight.std().item() == pytest.approx(0.02, rel=0.2)
        assert not layer.output.bias.any()


def test_the_dropout_of_a_recipe_replaces_that_of_the_encoder(tiny_recipe, tiny_checkpoint, tmp_path):
    assert read_shape(tiny_checkpoint).dropout == 0.1
    recipe = load_recipe(str(tiny_recipe), ["encoder.dropout=0.25"])
    run = prepare(recipe, RunFolder(tmp_path / "a"), options())
    shape = run.model.encoder.shape
    assert (shape.dropout, shape.attention_dropout) == (0.25, 0.25)
    assert {layer.dropout_p for layer in run.model.encoder.layers} == {0.25}
    assert {layer.attention.dropout_p for layer in run.model.encoder.layers} == {0.25}


def test_without_dropout_the_losses_in_training_and_evaluation_are_equal(tiny_recipe, tmp_path):
    settings = [
        "encoder.dropout=0",
        "curriculum=simultaneous",
        *(f"tasks.{t}.head.dropout=0" for t in ("mood", "same")),
    ]
    run = prepare(load_recipe(str(tiny_recipe), settings), RunFolder(tmp_path / "a"), options())
    (phase,) = run.setup.phases.of_epoch(1)
    rows = next(iter(phase.batches(run.data.sizes, 8, 1, 1)))
    batch = run.step.pairs.pack(rows, 0, torch.device("cpu"))
    run.model.eval()
    with torch.no_grad():
        outputs = run.model(batch)
    expected = {task: float(run.model.head(task).loss(outputs[task], batch.labels[task])) for task in batch.tasks}
    assert losses_after(run.step, rows) == [pytest.approx(expected, rel=1e-5)]


def test_reinitialised_layers_depend_on_the_seed(tiny_recipe, tmp_path):
    settings = ("encoder.reinitialise=all", "training.freeze_encoder=true", "training.epochs=1")
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        train(tiny_recipe, tmp_path / name, *settings, f"training.seed={seed}")
    a, b, c = (read_model(tmp_path / name).model.encoder.word_embeddings.weight for name in "abc")
    assert a.equal(b)
    assert not a.equal(c)


@pytest.mark.real_data
def test_a_recipe_of_the_paper_reads_the_course_files(tiny_checkpoint, course_data, tmp_path, monkeypatch):
    monkeypatch.setenv("MBERT_DATA", str(course_data))
    settings = (f"encoder.checkpoint={tiny_checkpoint}", "training.epochs=1", "training.max_length=32")
    best = train("paper/hybrid_low_rank_top", tmp_path / "a", *settings, "adapters[0].rank=4", limit=6)
    assert best.epoch == 1


def test_the_constant_schedule_is_flat_and_the_linear_one_rises_then_falls_to_zero():
    constant = TrainingSection()
    assert {learning_rate_factor(constant, step, 100) for step in range(100)} == {1.0}
    linear = TrainingSection(schedule="linear", warmup=0.1)
    factors = [learning_rate_factor(linear, step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert factors[10:] == pytest.approx([(100 - step) / 90 for step in range(10, 100)])
    assert learning_rate_factor(linear, 100, 100) == 0
    assert learning_rate_factor(TrainingSection(schedule="linear", warmup=0.0), 0, 10) == 1.0


def test_metrics_of_which_lower_is_better_are_negated_for_selection():
    found = {"overall": 0.5, "tasks": {"a": {"mse": 2.0, "pearson": 0.3}}}
    assert selected(found, "overall") == 0.5
    assert selected(found, "a.pearson") == 0.3
    assert selected(found, "a.mse") == -2.0
    assert selected({"tasks": {"a": {"ece": 0.25}}}, "a.ece") == -0.25


def rates_and_decays(recipe):
    """Return the learning rate and the weight decay of each parameter, by name."""
    shape = encoder_shape(recipe.encoder)
    model = build_model(recipe, shape, PackedEncoder(shape), seed=0)
    names = {parameter: name for name, parameter in model.named_parameters()}
    own = {name: task.learning_rate for name, task in recipe.tasks.items() if task.learning_rate is not None}
    groups = make_optimizer(model, recipe.training, own).param_groups
    found = [(names.pop(each), group) for group in groups for each in group["params"]]
    assert not names
    return {name: (group["base_lr"], group["weight_decay"]) for name, group in found}, model


def test_each_part_has_its_learning_rate_and_only_matrices_decay(tiny_recipe):
    settings = [
        "training.adapter_learning_rate=0.1",
        "training.head_learning_rate=0.2",
        "tasks.same.learning_rate=0.05",
    ]
    found, model = rates_and_decays(load_recipe(str(tiny_recipe), settings))
    own = f"_parts.{model.task_names.index('same')}."
    for name, parameter in model.named_parameters():
        rate = 0.001 if name.startswith("encoder") else 0.1 if ".adapters." in name else 0.2
        rate = 0.05 if name.startswith(own) else rate
        assert found[name] == (rate, 0.01 if parameter.ndim > 1 else 0.0), name


def test_layer_decay_lowers_the_rates_from_the_uppermost_layer_to_the_embeddings(tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), ["training.layer_decay=0.5"])
    found, model = rates_and_decays(recipe)
    assert len(model.encoder.layers) == 2
    assert found["encoder.pooler.weight"] == (0.001, 0.01)
    assert found["encoder.layers.1.output_norm.bias"] == (0.001, 0.0)
    assert found["encoder.layers.0.output_norm.bias"] == (0.0005, 0.0)
    assert found["encoder.word_embeddings.weight"] == (0.00025, 0.01)
    assert found["encoder.embedding_norm.weight"] == (0.00025, 0.0)
    others = {rate for name, (rate, _) in found.items() if not name.startswith("encoder.")}
    assert others == {0.001}
