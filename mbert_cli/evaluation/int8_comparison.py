"""Compare a model in int8 with the same model in fp32: scores and outputs on the same rows."""

from collections.abc import Mapping
from typing import Any

from mbert_cli.errors import MbertError
from mbert_cli.evaluation.options import EvaluationFiles
from mbert_cli.evaluation.run_outcomes import RunOutcomes
from mbert_cli.storage.int8_scores import write_scores
from mbert_cli.terminal.console import Console


def compare_with_fp32(int8: RunOutcomes, fp32: RunOutcomes) -> dict[str, Any]:
    """Return the main score in int8 and in fp32, and their difference int8 - fp32, for each task and overall.

    `largest_change` is the largest absolute difference of an output: a logit, a cosine or a number.

    Args:
        int8: the outcomes in int8.
        fp32: the outcomes of the same model in fp32, on the same files.
    """
    int8_metrics, fp32_metrics = int8.evaluation().metrics, fp32.evaluation().metrics
    tasks = {}
    for name, metrics in int8_metrics["tasks"].items():
        metric = metrics["main_metric"]
        change = (int8.tasks[name].outputs - fp32.tasks[name].outputs).abs().max()
        scores = _scores(metrics[metric], fp32_metrics["tasks"][name][metric])
        tasks[name] = {"metric": metric, **scores, "largest_change": float(change)}
    return {"tasks": tasks, "overall": _scores(int8_metrics["overall"], fp32_metrics["overall"])}


def _scores(int8: float, fp32: float) -> dict[str, float]:
    return {"fp32": fp32, "int8": int8, "difference": int8 - fp32}


def save_comparison(int8: RunOutcomes, files: EvaluationFiles, comparison: Mapping[str, Any], console: Console) -> None:
    """Write a comparison on the whole dev split into the folder of the model; the model card refers to it.

    No other file of the model changes. Nothing is saved for another split, other files, fewer rows or fewer tasks.

    Args:
        int8: the outcomes in int8.
        files: the files of the evaluation.
        comparison: the result of `compare_with_fp32`.
        console: prints a note if the folder cannot be written to.
    """
    saved = int8.predictor.saved
    if files.split != "dev" or files.others or files.limit is not None or set(int8.tasks) != set(saved.section.tasks):
        return
    try:
        write_scores(int8.predictor.run, comparison, saved.sha256)
    except MbertError as error:
        console.note(f"the comparison of int8 with fp32 is not saved: {error}")
