"""The model card: README.md of a saved model, with metadata as the Hugging Face Hub reads them. No network."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from mbert_cli import __version__
from mbert_cli.data.hub import PREFIX
from mbert_cli.errors import counted
from mbert_cli.heads import ClassHead
from mbert_cli.messages import one_line
from mbert_cli.model.ensemble import Ensemble
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.recipe.sections import Recipe

_METRICS = ("accuracy", "f1", "pearson", "spearman")
_MOST_LABELS = 20


def model_card(recipe: Recipe, model: SentenceModel, scores: Mapping[str, Any]) -> str:
    """Return a card: the same for the same recipe and scores.

    Args:
        recipe: what the model was trained with.
        model: knows its heads.
        scores: the metrics of its epoch, on dev.
    """
    title = one_line(recipe.card.title or "A multi-task sentence model")
    lines = [
        "---",
        _metadata(recipe, model, scores, title).to_yaml(line_break="\n"),
        "---",
        "",
        f"# {title}",
        "",
        *([recipe.card.description.strip(), ""] if recipe.card.description else []),
        f"One BERT encoder for {counted(len(recipe.tasks), 'task')}, trained with mbert {__version__}.",
        "",
        *_facts(recipe, model),
        "",
        "| task | text | labels | main metric on dev | trained on |",
        "|---|---|---|---|---|",
        *(_row(name, recipe, model, scores) for name in recipe.tasks),
        "",
        f"Overall on dev: {scores['overall']:.3f}. The best model was chosen on the same dev files, which flatters it. "
        "Thresholds and temperatures that were fitted afterwards, if any, are in decisions-*.json.",
        "",
        *_USE,
        "",
    ]
    return "\n".join(lines)


_USE = """\
## Use

```sh
mbert predict FOLDER INPUT.tsv -t TASK -o predicted.tsv
```

```python
from mbert_cli import Predictor

Predictor("FOLDER")({"COLUMN": ["A sentence."]}, task="TASK")
```

## Limits

The terms of the encoder and of the training data hold for this model, too. It knows what its training files hold: other
kinds of text, other languages and other meanings of the labels have not been looked at.
""".splitlines()


def _facts(recipe: Recipe, model: SentenceModel) -> list[str]:
    adapters = " + ".join(each.kind for each in recipe.adapters) or "none"
    together = [f"- an ensemble of {len(model.members())} models"] if isinstance(model, Ensemble) else []
    soft = ", ".join(name for name, task in recipe.tasks.items() if task.soft_labels is not None)
    taught = [f"- learnt from another model's predictions, too: {soft}"] if soft else []
    return [
        f"- encoder: `{_encoder(recipe)}`",
        f"- adapters: {adapters}; pooling: {recipe.pooling.kind}",
        f"- loss balancing: {recipe.loss_balancing.kind}; curriculum: {recipe.curriculum.kind}; "
        f"{counted(recipe.training.epochs, 'epoch')}; seed {recipe.training.seed}",
        *together,
        *taught,
    ]


def _encoder(recipe: Recipe) -> str:
    """Return the encoder's name; of a folder its own name only, for cards go to other machines."""
    name = recipe.encoder.checkpoint
    return one_line(PurePath(name).name if name.startswith(("/", ".")) else name)


def _row(name: str, recipe: Recipe, model: SentenceModel, scores: Mapping[str, Any]) -> str:
    head = model.head(name)
    labels = "a number"
    if isinstance(head, ClassHead):
        more = f" and {len(head.labels) - _MOST_LABELS} more" if len(head.labels) > _MOST_LABELS else ""
        labels = ", ".join(head.labels.names[:_MOST_LABELS]) + more
    metric = head.main_metric
    score = f"{metric} {scores['tasks'][name][metric]:.3f}"
    cells = (name, ", ".join(recipe.tasks[name].text), labels, score, _file(recipe.tasks[name].train))
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _file(path: str) -> str:
    """Return a data file's own name, or that of a data set on the Hub."""
    return one_line(path.removeprefix(PREFIX) if path.startswith(PREFIX) else PurePath(path).name)


def _datasets(recipe: Recipe) -> list[str] | None:
    """Return the data sets' names on the Hub, each once."""
    files = [path for task in recipe.tasks.values() for path in (task.train, task.dev)]
    named = ["/".join(_file(path).split("#")[0].split("/")[:2]) for path in files if path.startswith(PREFIX)]
    return list(dict.fromkeys([*recipe.card.datasets, *named])) or None


def _cell(text: str) -> str:
    """Return a text as Markdown shows it: with its own signs escaped."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", one_line(text))


def _metadata(recipe: Recipe, model: SentenceModel, scores: Mapping[str, Any], title: str) -> ModelCardData:
    results = []
    for name, task in recipe.tasks.items():
        found = scores["tasks"][name]
        kind = "text-classification" if isinstance(model.head(name), ClassHead) else "sentence-similarity"
        results += [
            EvalResult(
                task_type=kind,
                task_name=name,
                dataset_type=name,
                dataset_name=_file(task.dev),
                dataset_split="dev",
                metric_type=metric,
                metric_value=found[metric],
            )
            for metric in _METRICS
            if isinstance(found.get(metric), float)
        ]
    is_hub_name = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", recipe.encoder.checkpoint) is not None
    return ModelCardData(
        model_name=title,
        license=recipe.card.license,
        language=recipe.card.language,
        base_model=recipe.encoder.checkpoint if is_hub_name else None,
        datasets=_datasets(recipe),
        library_name="mbert",
        pipeline_tag="text-classification",
        tags=["multi-task", "bert", "adapters", *sorted({each.kind for each in recipe.adapters})],
        eval_results=results,
    )
