"""The procedure of `mbert fuse`: average the weights of runs, and score the mean on dev beside its parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mbert_cli.errors import UsageError, counted
from mbert_cli.evaluation.options import EvaluationFiles
from mbert_cli.evaluation.run_outcomes import run_outcomes
from mbert_cli.evaluation.tune import reset_decisions
from mbert_cli.model.mean_weights import check_alike, mean_of, set_weights, weights_of, write_fused
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_parts import ModelFiles
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.storage.output_folder import OutputFolder
from mbert_cli.terminal.console import Console


@dataclass(frozen=True)
class Scored:
    """The scores on dev of a run, or of the mean.

    Args:
        name: the run, or what was averaged.
        metrics: the metrics of an evaluation: `tasks` and `overall`.
        used: whether the weights are part of the mean.
    """

    name: str
    metrics: Mapping[str, Any]
    used: bool = True

    @property
    def overall(self) -> float:
        """The mean of the tasks' main metrics."""
        return float(self.metrics["overall"])


@dataclass(frozen=True)
class Fused:
    """The result of `fuse`.

    Args:
        parts: the runs, in the order of the command line.
        mean: the mean of their weights.
    """

    parts: Sequence[Scored]
    mean: Scored


def fuse(
    runs: Sequence[Path],
    output: OutputFolder,
    load: Callable[[Path], Predictor],
    console: Console,
    greedy: bool = False,
    limit: int | None = None,
) -> Fused:
    """Write a model whose weights are the mean of those of several runs.

    Args:
        runs: at least two run folders, or folders of saved models.
        output: the folder of the new model.
        load: loads a model.
        console: where progress is printed.
        greedy: start with the run that has the best score on dev; then add each other run, the best first, unless the
            score of the mean falls. Source: Wortsman et al. 2022, "Model soups", recipe 1.
        limit: largest number of dev rows of each task.

    Raises:
        CheckpointError: a run has no model.
        DataError: a dev file cannot be used.
        ResourceError: the disk is full.
        UsageError: the runs do not fit each other.
    """
    _check_runs(runs)
    models = [ModelFiles.of(run) for run in runs]
    check_alike(models)
    files, weights, parts = EvaluationFiles(limit=limit), [], []
    for run in runs:
        with console.status(f"scoring {run}"):
            predictor = load(run)
            weights.append(weights_of(_single(predictor)))
            metrics = run_outcomes(predictor, files, Console(quiet=True)).evaluation().metrics
            parts.append(Scored(str(run), metrics))

    def score(chosen: Sequence[int]) -> Scored:
        # The predictor of the last run takes on other weights, without its thresholds and temperatures.
        set_weights(_single(predictor), mean_of({str(runs[index]): weights[index] for index in chosen}))
        reset_decisions(predictor.saved.model, [])
        metrics = run_outcomes(predictor, files, Console(quiet=True)).evaluation().metrics
        return Scored(f"mean of {len(chosen)}", metrics)

    with console.status("scoring the mean"):
        chosen = _greedily([each.overall for each in parts], score) if greedy else list(range(len(runs)))
        mean = score(chosen)
    how = f"{counted(len(chosen), 'run')}{f' of {len(runs)}, chosen by their scores on dev' if greedy else ''}"
    used = [models[index] for index in chosen]
    scores = {key: mean.metrics[key] for key in ("tasks", "overall")}
    scores["tasks"] = {name: _own(metrics) for name, metrics in scores["tasks"].items()}
    single = _single(predictor)
    output.write(lambda at: write_fused(at, used, single, scores, how), [each.folder for each in used])
    return Fused([replace(each, used=index in chosen) for index, each in enumerate(parts)], mean)


def _check_runs(runs: Sequence[Path]) -> None:
    if len(runs) < 2:
        raise UsageError(f"mbert fuse: needs at least two runs, but got {len(runs)}.")
    places = [run.resolve() for run in runs]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise UsageError(f"mbert fuse: {runs[index]} is given twice; give each run once.")


def _greedily(scores: Sequence[float], score: Callable[[Sequence[int]], Scored]) -> list[int]:
    """Return the indices of the runs that the greedy mean consists of, in ascending order."""
    first, *others = sorted(range(len(scores)), key=lambda index: -scores[index])
    chosen, best = [first], scores[first]
    for index in others:
        overall = score(sorted([*chosen, index])).overall
        if overall >= best:
            chosen, best = sorted([*chosen, index]), overall
    return chosen


def _single(predictor: Predictor) -> MultiTaskBert:
    model = predictor.saved.model
    assert isinstance(model, MultiTaskBert)  # `check_alike` rejects ensembles
    return model


def _own(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics without facts about the file, which may contain local paths."""
    return {key: value for key, value in metrics.items() if key not in ("file", "split", "sha256")}
