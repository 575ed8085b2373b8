"""The model card: the README.md of a saved model, with metadata for the Hugging Face Hub. No network."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from mbert_cli import __version__
from mbert_cli.data.hub import PREFIX
from mbert_cli.data.labels import NamedLabels
from mbert_cli.errors import counted
from mbert_cli.heads import Head
from mbert_cli.messages import one_line
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.recipe.sections import Recipe
from mbert_cli.recipe.training_options import training_options

_TEMPLATES = Path(__file__).parent / "templates"
_METRICS = ("accuracy", "f1", "micro_f1", "macro_f1", "average_precision", "pearson", "spearman")
_MOST_LABELS = 20


def model_card(recipe: Recipe, model: SentenceModel, scores: Mapping[str, Any]) -> str:
    """Return the card of a model. It depends only on the arguments and on the version of mbert.

    Args:
        recipe: the recipe of the training run.
        model: the model.
        scores: the metrics on dev of the epoch whose weights are kept.
    """
    # Imported here because the import is slow and predictions write no card.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701 -- the result is Markdown; `markdown` escapes names
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = _escaped
    title = one_line(recipe.card.title or "A multi-task sentence model")
    return environment.get_template("model_card.md").render(
        recipe=recipe,
        metadata=_metadata(recipe, model, scores, title).to_yaml(line_break="\n"),
        title=title,
        version=__version__,
        num_tasks=counted(len(recipe.tasks), "task"),
        num_epochs=counted(recipe.training.epochs, "epoch"),
        training_options=training_options(recipe),
        num_members=len(model.members()),
        encoder=_encoder(recipe),
        soft_tasks=[name for name, task in recipe.tasks.items() if task.soft_labels is not None],
        rows=[_row(name, recipe, model.head(name), scores) for name in recipe.tasks],
        overall=scores["overall"],
    )


def _encoder(recipe: Recipe) -> str:
    """Return the encoder's name. If it is a folder, return only the folder's name: other machines have other paths."""
    name = recipe.encoder.checkpoint
    return one_line(PurePath(name).name if name.startswith(("/", ".")) else name)


def _row(name: str, recipe: Recipe, head: Head, scores: Mapping[str, Any]) -> list[str]:
    """Return the cells of a task's row."""
    labels = "a number"
    if isinstance(head.labels, NamedLabels):
        more = f" and {len(head.labels) - _MOST_LABELS} more" if len(head.labels) > _MOST_LABELS else ""
        labels = ", ".join(head.labels.names[:_MOST_LABELS]) + more
    metric, task = head.main_metric, recipe.tasks[name]
    return [name, ", ".join(task.text), labels, f"{metric} {scores['tasks'][name][metric]:.3f}", _file(task.train)]


def _file(path: str) -> str:
    """Return the name of a data file without its folder, or the name of a data set on the Hub."""
    return one_line(path.removeprefix(PREFIX) if path.startswith(PREFIX) else PurePath(path).name)


def hub_datasets(recipe: Recipe) -> list[str]:
    """Return the names of the data sets on the Hub, without repetitions: those of the card, then those of tasks."""
    files = [path for task in recipe.tasks.values() for path in (task.train, task.dev)]
    named = ["/".join(_file(path).split("#")[0].split("/")[:2]) for path in files if path.startswith(PREFIX)]
    return list(dict.fromkeys([*recipe.card.datasets, *named]))


def _escaped(text: str) -> str:
    """Return a text on one line with the characters of Markdown escaped."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", one_line(text))


def _metadata(recipe: Recipe, model: SentenceModel, scores: Mapping[str, Any], title: str) -> ModelCardData:
    results = []
    for name, task in recipe.tasks.items():
        metrics = scores["tasks"][name]
        kind = "text-classification" if isinstance(model.head(name).labels, NamedLabels) else "sentence-similarity"
        results += [
            EvalResult(
                task_type=kind,
                task_name=name,
                dataset_type=name,
                dataset_name=_file(task.dev),
                dataset_split="dev" if task.fold is None else f"fold {task.fold.number} of {task.fold.of}",
                metric_type=metric,
                metric_value=metrics[metric],
            )
            for metric in _METRICS
            if isinstance(metrics.get(metric), float)
        ]
    is_hub_name = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", recipe.encoder.checkpoint) is not None
    return ModelCardData(
        model_name=title,
        license=recipe.card.license,
        language=recipe.card.language,
        base_model=recipe.encoder.checkpoint if is_hub_name else None,
        datasets=hub_datasets(recipe) or None,
        library_name="mbert",
        pipeline_tag="text-classification",
        tags=["multi-task", "bert", "adapters", *sorted({each.kind for each in recipe.adapters})],
        eval_results=results,
    )
