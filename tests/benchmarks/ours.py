"""mbert's contenders: its training steps and its prediction, with models that are built from recipes.

As a program, this file is the worker of one contender.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import limit
from watched_steps import WatchedSteps
from workload import (
    COLUMNS,
    LEARNING_RATE,
    MAX_LENGTH,
    course_file,
    course_steps,
    memory,
    report,
    settings_of_worker,
    wait_for,
)

# The command mbert sets this too, before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

HEADS = {
    "sst": {"kind": "classification", "num_classes": 5},
    "quora": {"kind": "pair_classification"},
    "sts": {"kind": "cosine_similarity", "scale": 5},
}


def course_recipe(encoder, adapters=()):
    """Return a recipe of the paper's three tasks, with mean pooling.

    Args:
        encoder: a checkpoint, as in a recipe.
        adapters: adapters, as in a recipe.
    """
    tasks = {
        task: {
            "train": str(course_file(task, "train").resolve()),
            "dev": str(course_file(task, "dev").resolve()),
            "text": list(texts),
            "label": label,
            "head": HEADS[task],
            "on_bad_row": "skip",
        }
        for task, (_, texts, label) in COLUMNS.items()
    }
    return {
        "encoder": {"checkpoint": encoder},
        "adapters": list(adapters),
        "pooling": {"kind": "mean"},
        "tasks": tasks,
        "curriculum": {"kind": "simultaneous"},
        "training": {"epochs": 1, "learning_rate": LEARNING_RATE, "max_length": MAX_LENGTH},
    }


def load(recipe, folder):
    """Write a recipe to a folder, and load it."""
    from mbert_cli.model.components import load_recipe

    path = folder / "benchmark.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
    return load_recipe(str(path))


def save_untrained(recipe, run):
    """Save the untrained model of a recipe, as training saves a model."""
    from mbert_cli.data.tokenizer import Tokenizer
    from mbert_cli.encoder.checkpoint import load_encoder
    from mbert_cli.encoder.location import locate
    from mbert_cli.model.compose import build_model, encoder_shape
    from mbert_cli.model.saved_model import write_model
    from mbert_cli.storage.atomic import commit_folder
    from mbert_cli.storage.run_folder import RunFolder

    shape, source = encoder_shape(recipe.encoder), locate(recipe.encoder.checkpoint)
    model = build_model(recipe, shape, load_encoder(source, shape)[0], recipe.training.seed)
    tokenizer = Tokenizer(source, recipe.training.max_length)
    metrics = {name: model.head(name).main_metric for name in model.task_names}
    nothing = {name: {"main_metric": metric, metric: 0.0} for name, metric in metrics.items()}
    scores = {"tasks": nothing, "overall": 0.0}
    commit_folder(RunFolder(run).model, lambda at: write_model(at, model, recipe, tokenizer, False, scores))


def timed_steps(
    recipe,
    folder,
    precision,
    steps,
    warm_up,
    kernels="auto",
    device="cpu",
    processes=None,
    look=lambda run: None,
    waits=True,
):
    """Train some steps as `mbert train` does, and return the time of each step after the warm-up.

    Args:
        recipe: the recipe.
        folder: folder for the run's files.
        precision: `fp32` or `bf16`.
        steps: returns the steps (the indices of each task's rows) for the sizes of the training sets.
        warm_up: number of steps that are not timed.
        kernels: as in `mbert train`.
        device: as in `mbert train`.
        processes: the processes that train together; None for one.
        look: is called with the run before the first step.
        waits: whether each step is waited for. Otherwise the times on a GPU are only those of the CPU.

    Returns:
        The measurements.

    Raises:
        AssertionError: the weights of a part that trains did not change.
    """
    import numpy as np

    from mbert_cli.machine import process_group
    from mbert_cli.machine.hardware import choose
    from mbert_cli.storage.run_folder import RunFolder
    from mbert_cli.terminal.console import Console
    from mbert_cli.training import fit as training
    from mbert_cli.training.options import RunOptions

    options = RunOptions(
        choose(device, precision, kernels), Console(quiet=True), processes=processes or process_group.ALONE
    )
    run = training.prepare(recipe, RunFolder(folder), options)
    run.model.train_only(run.model.task_names if recipe.training.freeze_encoder else None)
    look(run)
    work, before = count_packed(run.step.pairs), sums_of(run.model)
    times, tokens = [], []
    for index, step in enumerate(steps(run.data.sizes)):
        rows = {task: np.asarray(indices) for task, indices in step.items()}
        start = time.perf_counter()
        run.step(rows)
        if waits:
            run.step.read()
            wait_for(device)
        if index >= warm_up:
            times.append(time.perf_counter() - start)
            tokens.append([int(run.data.train[task].lengths[rows[task]].sum()) for task in rows])
    run.step.read()
    run.setup.learner.optimizer.catch_up()
    still = [part for part, value in sums_of(run.model).items() if value == before[part]]
    assert not still, f"these parts did not train: {', '.join(still)}"
    return Measured(times, [fmean(each) for each in zip(*tokens, strict=True)], work, run.model.encoder.shape)


@dataclass(frozen=True)
class Measured:
    """Measurements of steps.

    Args:
        times: seconds of each timed step.
        tokens: each task's mean number of tokens in the timed steps.
        work: numbers of `sentences` and `tokens` that the model read in all steps.
        shape: sizes of the encoder.
    """

    times: list[float]
    tokens: list[float]
    work: dict[str, int]
    shape: object


def count_work(model):
    """Return a dict in which the sentences and tokens that a model reads are counted from now on."""
    work = {"sentences": 0, "tokens": 0}

    def count(_, inputs):
        work["sentences"] += inputs[0].layout.num_sentences
        work["tokens"] += inputs[0].layout.num_tokens

    model.register_forward_pre_hook(count)
    return work


def count_tokenised(predictor):
    """Return a dict that counts the sentences and tokens of all following predictions.

    It counts the tokens that are given to the model, because a CUDA graph does not call the model, and reads dummies.
    """
    work, outputs = {"sentences": 0, "tokens": 0}, predictor.outputs

    def counted(task, data, *arguments, **options):
        work["sentences"] += len(data) * len(data.sides)
        work["tokens"] += int(data.lengths.sum())
        return outputs(task, data, *arguments, **options)

    predictor.outputs = counted
    return work


def count_packed(pairs):
    """Return a dict that counts the sentences and tokens of all following training steps.

    It counts packed batches, because a CUDA graph does not call the model.
    """
    work, pack = {"sentences": 0, "tokens": 0}, pairs.pack_portions

    def counted(*arguments):
        portions = pack(*arguments)
        work["sentences"] += sum(portion.batch.layout.num_sentences for portion in portions)
        work["tokens"] += sum(portion.batch.layout.num_tokens for portion in portions)
        return portions

    pairs.pack_portions = counted
    return work


def sums_of(model):
    """Return the sum of the trained weights of each part of a model: the encoder, and the own parts of each task."""
    import torch

    parts = {"encoder": model.encoder, **{f"task {name}": model.task(name) for name in model.task_names}}
    sums = {}
    for name, part in parts.items():
        trained = [each for each in part.parameters() if each.requires_grad]
        if trained:
            sums[name] = sum(float(each.detach().sum(dtype=torch.float64)) for each in trained)
    return sums


def parts_of(name):
    """Return method, precision and kernels of a contender METHOD_PRECISION or METHOD_PRECISION_plain."""
    name, plain = name.removesuffix("_plain"), name.endswith("_plain")
    return *name.rsplit("_", 1), "torch" if plain else "auto"


def recipe_of(method, encoder, rank):
    """Return the recipe of a method. Only `full` trains the encoder.

    Args:
        method: `full`, or an adapter's kind. `_cached` at its end means `cache_features`.
        encoder: a checkpoint, as in a recipe.
        rank: rank of Houlsby's bottlenecks.
    """
    kind = method.removesuffix("_cached")
    adapters = {"full": [], "houlsby": [{"kind": "houlsby", "rank": rank}]}.get(kind, [{"kind": kind}])
    recipe = course_recipe(encoder, adapters)
    recipe["training"] |= {"freeze_encoder": kind != "full", "cache_features": kind != method}
    return recipe


def train(settings):
    """Time a method's training steps on the course's data, and then their matrix products alone."""
    from mbert_cli.encoder.checkpoint import read_shape

    method, precision, kernels = parts_of(settings["name"])
    encoder = Path(settings["encoder"])
    rank = read_shape(encoder).hidden_size // 4  # equals the peer's reduction factor
    rows, drawn = course_steps(settings)
    watched = WatchedSteps(drawn, settings)

    def steps(sizes):
        assert sizes == {task: len(each) for task, each in rows.items()}, "contenders read the same rows"
        return watched

    with tempfile.TemporaryDirectory() as folder:
        run, recipe = Path(folder, "run"), load(recipe_of(method, str(encoder), rank), Path(folder))
        run.mkdir()
        found = timed_steps(
            recipe,
            run,
            precision,
            steps,
            settings["warm_up"],
            kernels,
            settings["device"],
            look=lambda run: None if settings.get("graphs", True) else _without_graphs(run),
            waits=not settings.get("flowing"),
        )
    result = {"times": found.times[: settings["steps"]], "tokens": sum(found.tokens), "work": found.work}
    result |= {**memory(settings["device"]), **watched.figures()}
    products = limit.step(method, found.tokens, found.shape, rank)
    if products is not None and settings["device"] == "cpu":
        result["limit_times"] = limit.measure(products, precision == "bf16", len(found.times))
    return result


def _without_graphs(run):
    run.step.run_without_graphs()


def predict(settings):
    """Time `mbert predict` from the first row of the input to the end of the output."""
    from mbert_cli.data.table import Table
    from mbert_cli.prediction.output_formats import TextTable
    from mbert_cli.prediction.predict_table import predict_table
    from mbert_cli.prediction.predictor import Predictor

    tasks = [settings["task"]]
    with Table(settings["input"]) as table:
        predictor = Predictor(settings["run"], device=settings["device"], precision=settings["precision"])
        graphs = predictor.outputs.graphs
        work = count_work(predictor.saved.model) if graphs is None else count_tokenised(predictor)
        start = time.perf_counter()
        with open(settings["output"], "w", encoding="utf-8", newline="\n") as out:
            writer = TextTable("-").writer(out, predictor, table, tasks)
            for _ in predict_table(predictor, table, tasks, writer):
                pass  # a generator: it writes rows while it is iterated over
        result = {"work_s": time.perf_counter() - start, "work": work, **memory(settings["device"])}
    if settings["device"] == "cpu":
        result["limit_s"] = prediction_limit(predictor, work["tokens"])
    return result


def prediction_limit(predictor, tokens):
    """Return the seconds of the matrix products alone; those of a batch of 4,096 tokens are measured."""
    batch = 4096
    products = limit.prediction(batch, predictor.saved.model.shape)
    int8, is_bf16 = predictor.hardware.int8, "bfloat16" in str(predictor.hardware.dtype)
    times = limit.measure_int8(products, 3) if int8 else limit.measure(products, is_bf16, 3)
    return median(times) * tokens / batch


if __name__ == "__main__":
    worker_settings = settings_of_worker()
    report({"train": train, "predict": predict}[worker_settings["procedure"]](worker_settings))
    sys.exit()
