"""The model card: the README.md of a saved model, with metadata for the Hugging Face Hub. No network."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from mbert_cli import __version__
from mbert_cli.data.hub import PREFIX
from mbert_cli.data.label_sets import LabelSets
from mbert_cli.data.labels import NamedLabels, ScaleLabels
from mbert_cli.errors import counted
from mbert_cli.messages import one_line
from mbert_cli.model.components import build_labels
from mbert_cli.recipe.sections import ModelSection, Recipe, TaskSection
from mbert_cli.recipe.training_options import training_options

_TEMPLATES = Path(__file__).parent / "templates"
_METRICS = ("accuracy", "f1", "micro_f1", "macro_f1", "average_precision", "pearson", "spearman")
_MOST_LABELS = 20


def card_facts(recipe: Recipe, num_members: int) -> dict[str, Any]:
    """Return what the card of a model says about its training, as JSON: `card` of its config.json.

    Args:
        recipe: the recipe of the training run.
        num_members: number of models that predict together.
    """
    soft = [name for name, task in recipe.tasks.items() if task.soft_labels is not None]
    return {
        **recipe.card.model_dump(),
        "kinds": sorted({each.kind for each in recipe.adapters}),
        "training": [
            f"adapters: {' + '.join(each.kind for each in recipe.adapters) or 'none'}; pooling: {recipe.pooling.kind}",
            f"loss balancing: {recipe.loss_balancing.kind}; curriculum: {recipe.curriculum.kind}; "
            f"{counted(recipe.training.epochs, 'epoch')}; seed {recipe.training.seed}",
            *(f"{name}: {text}" for name, text in training_options(recipe).items()),
            *[f"an ensemble of {num_members} models"] * (num_members > 1),
            *[f"also trained on another model's predictions: {', '.join(soft)}"] * bool(soft),
        ],
    }


def model_card(section: ModelSection, config: Mapping[str, Any]) -> str:
    """Return the card of a model. It depends only on the arguments and on the version of mbert.

    Args:
        section: the sections of the recipe that define the model.
        config: the content of the model's config.json: `scores`, the metrics on dev of the epoch whose weights are
            kept; `card`, see `card_facts`; `added`, the same of each task that was trained separately.
    """
    facts = config.get("card", {})
    title = one_line(facts.get("title") or "A multi-task sentence model")
    return render_card(
        "model_card.md",
        metadata=_metadata(section, config, title).to_yaml(line_break="\n"),
        title=title,
        description=facts.get("description"),
        num_tasks=counted(len(section.tasks), "task"),
        encoder=_encoder(section),
        training=facts.get("training", []),
        rows=[task_row(name, task, config["scores"]["tasks"][name]) for name, task in section.tasks.items()],
        overall=config["scores"]["overall"],
        added={name: own["training"] for name, own in config.get("added", {}).items()},
    )


def task_card(section: ModelSection, config: Mapping[str, Any]) -> str:
    """Return the card of a task folder.

    Args:
        section: the sections of the recipe that define a model with this task only.
        config: the content of config.json of the folder.
    """
    ((name, task),) = section.tasks.items()
    facts, metrics = config["card"], config["scores"]
    metadata = ModelCardData(
        model_name=name,
        license=facts["license"],
        language=facts["language"],
        datasets=hub_datasets(section.tasks, []) or None,
        library_name="mbert",
        pipeline_tag="text-classification",
        tags=["bert", "adapters", *sorted({each.kind for each in section.adapters})],
        eval_results=eval_results(name, task, metrics),
    )
    return render_card(
        "task_card.md",
        metadata=metadata.to_yaml(line_break="\n"),
        name=name,
        encoder=_encoder(section),
        encoders=config["encoder_sha256"],
        adapters=[each.describe() for each in section.adapters],
        pooling=section.pooling.describe(),
        max_length=config["max_length"],
        training=facts["training"],
        row=task_row(name, task, metrics),
    )


def render_card(template: str, **values: Any) -> str:
    """Return a card from its template in `templates/`."""
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
    return environment.get_template(template).render(version=__version__, **values)


def _encoder(section: ModelSection) -> str:
    """Return the encoder's name. If it is a folder, return only the folder's name: other machines have other paths."""
    name = section.encoder.checkpoint
    return one_line(PurePath(name).name if name.startswith(("/", ".")) else name)


def task_row(name: str, task: TaskSection, metrics: Mapping[str, Any]) -> list[str]:
    """Return the cells of a task's row: its name, texts, labels, main metric and training file.

    Args:
        name: the name of the task.
        task: the task.
        metrics: its metrics on dev.
    """
    names, own, metric = "a number", build_labels(task.head), metrics["main_metric"]
    if isinstance(own, ScaleLabels):
        names = f"a number from {own.low:g} to {own.high:g}"
    elif isinstance(own, NamedLabels):
        more = f" and {len(own) - _MOST_LABELS} more" if len(own) > _MOST_LABELS else ""
        names = ", ".join(own.names[:_MOST_LABELS]) + more
        if isinstance(own, LabelSets):
            names += f" (several, joined by {own.delimiter})"
        elif metric == "quadratic_kappa":
            names += " (ordered)"
    return [name, ", ".join(task.text), names, f"{metric} {metrics[metric]:.3f}", _file(task.train)]


def _file(path: str) -> str:
    """Return the name of a data file without its folder, or the name of a data set on the Hub."""
    return one_line(path.removeprefix(PREFIX) if path.startswith(PREFIX) else PurePath(path).name)


def hub_datasets(tasks: Mapping[str, TaskSection], datasets: Sequence[str]) -> list[str]:
    """Return the names of data sets on the Hub, without repetitions: those of the card, then those of tasks."""
    files = [path for task in tasks.values() for path in (task.train, task.dev)]
    named = ["/".join(_file(path).split("#")[0].split("/")[:2]) for path in files if path.startswith(PREFIX)]
    return list(dict.fromkeys([*datasets, *named]))


def _escaped(text: str) -> str:
    """Return a text on one line with the characters of Markdown escaped."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", one_line(text))


def _metadata(section: ModelSection, config: Mapping[str, Any], title: str) -> ModelCardData:
    facts, scores = config.get("card", {}), config["scores"]["tasks"]
    results = [each for name, task in section.tasks.items() for each in eval_results(name, task, scores[name])]
    kinds = {each.kind for adapters in section.task_adapters.values() for each in adapters}
    is_hub_name = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", section.encoder.checkpoint) is not None
    return ModelCardData(
        model_name=title,
        license=facts.get("license"),
        language=facts.get("language"),
        base_model=section.encoder.checkpoint if is_hub_name else None,
        datasets=hub_datasets(section.tasks, facts.get("datasets", [])) or None,
        library_name="mbert",
        pipeline_tag="text-classification",
        tags=["multi-task", "bert", "adapters", *sorted({*facts.get("kinds", []), *kinds})],
        eval_results=results,
    )


def eval_results(name: str, task: TaskSection, metrics: Mapping[str, Any]) -> list[EvalResult]:
    """Return the scores of a task on dev, for the metadata of a card."""
    is_classification = isinstance(build_labels(task.head), NamedLabels)
    return [
        EvalResult(
            task_type="text-classification" if is_classification else "sentence-similarity",
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
