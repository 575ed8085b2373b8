"""One procedure: evaluate; on data at hand, or on a run's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import read_examples
from mbert_cli.errors import UsageError
from mbert_cli.metrics import Metrics, overall
from mbert_cli.model import MultiTaskBert
from mbert_cli.prediction import Predictor, run_model
from mbert_cli.progress import Talk


def evaluate(model: MultiTaskBert, data: Mapping[str, TaskData], batch_size: int | None = None) -> dict[str, Any]:
    """Return the metrics of every task, and the score over all.

    Args:
        model: the model; it is put into evaluation mode.
        data: labelled examples of each task to evaluate.
        batch_size: examples of a batch at most.

    Returns:
        ``{"tasks": {task: metrics}, "overall": number}``, metrics as the task's head gives them, with the mean loss.
    """
    found: dict[str, Metrics] = {}
    for task, examples in data.items():
        head = model.head(task)
        outputs = run_model(model, task, examples, batch_size)
        labels = torch.from_numpy(examples.labels)
        found[task] = {
            "examples": len(examples),
            "loss": float(head.loss(outputs, labels)),
            **head.metrics(outputs, labels),
        }
    main = {
        task: (model.head(task).main_metric, metrics[model.head(task).main_metric]) for task, metrics in found.items()
    }
    return {"tasks": found, "overall": overall(main)}


def evaluate_run(
    run: Path,
    split: Literal["train", "dev", "test"],
    files: Mapping[str, str],
    tasks: Sequence[str],
    batch_size: int | None,
    device: str,
    precision: str,
    limit: int | None,
    talk: Talk,
) -> dict[str, Any]:
    """Evaluate a run's best model on its recipe's files, or on others.

    Args:
        run: a run folder, or the folder of a saved model.
        split: which of the recipe's files.
        files: for some tasks a file in place of the recipe's. Where any is given, only those tasks are evaluated,
            unless `tasks` names others.
        tasks: the tasks to evaluate; all by default.
        batch_size: examples of a batch at most.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32` or `bf16`.
        limit: how many examples to read of each file at most.
        talk: where skipped rows are told.

    Returns:
        What `evaluate` returns, with the split and each task's file and labels.

    Raises:
        CheckpointError: there is no such model or task.
        UsageError: a task has no file for the split.
        DataError: a file cannot be used.
    """
    predictor = Predictor(run, device=device, precision=precision, batch_size=batch_size)
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
    found = evaluate(saved.model, data, batch_size)
    for name, metrics in found["tasks"].items():
        metrics["file"] = sources[name]
    return {"split": split, **found}
