"""Models with random adapters and heads, without training."""

import json
from pathlib import Path

import torch

from mbert_cli.data.batching import TaskData, tokenise_texts
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import build_model
from mbert_cli.model.saved_model import SavedModel, write_model
from mbert_cli.prediction.run_model import run_model
from mbert_cli.storage.atomic import commit_folder


def random_model(
    folder, checkpoint, head, adapters=(), pooling="cls", texts=1, max_length=16, std=0.3, **task
) -> SavedModel:
    """Return a model of one task, `mood`, with random values.

    Args:
        folder: a folder for the recipe.
        checkpoint: the folder of the encoder.
        head: the head's section.
        adapters: the sections of the adapters.
        pooling: the section of the pooling, or its kind.
        texts: number of text columns.
        max_length: the longest sequence in tokens.
        std: standard deviation of what is added to the initial values of the adapters and the head.
        task: further keys of the task.
    """
    columns = ["one", "two"][:texts]
    section = {"train": "a.tsv", "dev": "b.tsv", "text": columns, "label": "mood", "head": head, **task}
    recipe = {
        "encoder": {"checkpoint": str(checkpoint)},
        "adapters": list(adapters),
        "pooling": {"kind": pooling} if isinstance(pooling, str) else pooling,
        "tasks": {"mood": section},
    }
    path = folder / "random.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    loaded, shape = load_recipe(str(path)), read_shape(checkpoint)
    encoder, _ = load_encoder(checkpoint, shape)
    model = build_model(loaded, shape, encoder, seed=1)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.task("mood").parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * std)
    return SavedModel(loaded, model.eval(), Tokenizer(checkpoint, max_length), "0" * 64)


def untrained(recipe, *settings) -> SavedModel:
    """Return the model of a recipe, as it is before training."""
    loaded = load_recipe(str(recipe), settings)
    folder = Path(loaded.encoder.checkpoint)
    encoder, _ = load_encoder(folder, read_shape(folder))
    model = build_model(loaded, encoder.shape, encoder, loaded.training.seed)
    return SavedModel(loaded, model.eval(), Tokenizer(folder, loaded.training.max_length), "0" * 64)


def outputs_of(saved, *sides) -> torch.Tensor:
    """Return the calibrated outputs of the head for texts, or for the two sides of pairs."""
    head, section = saved.model.head("mood"), saved.task("mood")
    data = tokenise_texts(saved.tokenizer, sides, head.sides, section.symmetric, windows=section.windows)
    return head.calibrated(run_model(saved.model, "mood", data))


def vectors_of(saved, texts) -> torch.Tensor:
    """Return the vectors of `mbert embed`."""
    return run_model(saved.model, "mood", TaskData((saved.tokenizer.encode(texts),), None), vectors=True)


def write_run(folder, saved, encoder_changed=False):
    """Write a run folder that contains only a model; return it."""
    metrics = {name: saved.model.head(name).main_metric for name in saved.model.task_names}
    tasks = {name: {"main_metric": metric, metric: 0.5} for name, metric in metrics.items()}
    scores = {"overall": 0.5, "tasks": tasks}
    commit_folder(
        folder / "model",
        lambda at: write_model(at, saved.model, saved.section, saved.tokenizer, encoder_changed, scores),
    )
    return folder
