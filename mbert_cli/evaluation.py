"""One procedure: evaluate; on data at hand, or on a run's files."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import read_examples
from mbert_cli.errors import UsageError
from mbert_cli.evaluation_files import Evaluation, Predictions
from mbert_cli.metrics import Metrics, overall
from mbert_cli.model import MultiTaskBert
from mbert_cli.prediction import Predictor, run_model
from mbert_cli.progress import Talk


def evaluate(model: MultiTaskBert, data: Mapping[str, TaskData], batch_size: int | None = None) -> Evaluation:
    """Return the metrics and predictions of every task, and the score over all.

    Args:
        model: the model; it is put into evaluation mode.
        data: labelled examples of each task to evaluate.
        batch_size: examples of a batch at most.

    Returns:
        The metrics as the task's head gives them, with the number of examples, the mean loss and the name of the metric
        that stands for the task.
    """
    found: dict[str, Metrics] = {}
    predictions: dict[str, Predictions] = {}
    for task, examples in data.items():
        head = model.head(task)
        outputs = run_model(model, task, examples, batch_size)
        labels = torch.from_numpy(examples.labels)
        found[task] = {
            "examples": len(examples),
            "main_metric": head.main_metric,
            "loss": float(head.loss(outputs, labels)),
            **head.metrics(outputs, labels),
        }
        predictions[task] = Predictions(
            examples.lines, _label_texts(labels, found[task].get("labels")), head.predict(outputs)
        )
    main = {task: (metrics["main_metric"], metrics[metrics["main_metric"]]) for task, metrics in found.items()}
    return Evaluation({"tasks": found, "overall": overall(main)}, predictions)


def _label_texts(labels: Tensor, names: Sequence[str] | None) -> list[str] | list[float]:
    """Return true labels as a prediction gives them: classes by name, anything else as a number."""
    return labels.tolist() if names is None else [names[int(label)] for label in labels]


def evaluate_run(
    predictor: Predictor,
    split: Literal["train", "dev", "test"],
    files: Mapping[str, str],
    tasks: Sequence[str],
    limit: int | None,
    talk: Talk,
) -> Evaluation:
    """Evaluate a run's best model on its recipe's files, or on others.

    Args:
        predictor: of the run.
        split: which of the recipe's files.
        files: for some tasks a file in place of the recipe's. Where any is given, only those tasks are evaluated,
            unless `tasks` names others.
        tasks: the tasks to evaluate; all by default.
        limit: how many examples to take of each file at most, spread evenly over it.
        talk: where skipped rows are told.

    Returns:
        What `evaluate` returns, with the run, the split and each task's file.

    Raises:
        CheckpointError: there is no such task.
        UsageError: a task has no file for the split.
        DataError: a file cannot be used.
    """
    saved = predictor.saved
    chosen = list(tasks) or list(files) or list(predictor.tasks)
    for name in (*chosen, *files):
        saved.task(name)
    data, sources = {}, {}
    for name in chosen:
        task = saved.task(name)
        path = files.get(name) or getattr(task, split)
        if path is None:
            raise UsageError(f"task {name} has no {split} file in its recipe; give one: --data {name}=FILE.")
        examples = read_examples(path, name, task, saved.model.head(name).parse_label, limit)
        if examples.skipped:
            talk.say(examples.skipped_note(path))
        data[name], sources[name] = tokenise(saved.tokenizer, examples), path
    return evaluate(saved.model, data, predictor.batch_size).of(split, sources, run=str(predictor.run))
