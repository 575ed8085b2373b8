"""The options of an evaluation: which files are evaluated, and what is fitted to them.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mbert_cli.calibration import Criterion
from mbert_cli.errors import UsageError
from mbert_cli.recipe.sections import TaskSection


@dataclass(frozen=True)
class EvaluationFiles:
    """The files on which a run's model is evaluated.

    Args:
        split: the recipe's files to use.
        others: for some tasks, a file to use instead of the recipe's. Then only these tasks are evaluated, unless
            `tasks` is given.
        tasks: the tasks to evaluate; all if empty.
        limit: largest number of examples per file, evenly spread over the file; None for all.
        strict_length: raise an error for a text that is too long, instead of cutting it.
    """

    split: Literal["train", "dev", "test"] = "dev"
    others: Mapping[str, str] = field(default_factory=dict)
    tasks: Sequence[str] = ()
    limit: int | None = None
    strict_length: bool = False

    def of_tasks(self, tasks: Mapping[str, TaskSection]) -> dict[str, str]:
        """Return the file of each task that is evaluated, if it has one.

        Args:
            tasks: the tasks of the model.
        """
        names = self.tasks or [*self.others] or [*tasks]
        files = {name: self.others.get(name) or getattr(tasks.get(name), self.split, None) for name in names}
        return {name: file for name, file in files.items() if file}


@dataclass(frozen=True)
class Fitting:
    """What is fitted on dev and saved in the model before the evaluation.

    Args:
        criterion: the score for which thresholds are fitted; None to keep the thresholds.
        calibrate: fit temperatures.
        reset: reset thresholds and temperatures to their values before any fit.
    """

    criterion: Criterion | None = None
    calibrate: bool = False
    reset: bool = False

    @property
    def options(self) -> str:
        """The command-line options that fit; empty if nothing is fitted."""
        tunes = self.criterion is not None
        return " and ".join(["--tune-thresholds"] * tunes + ["--calibrate"] * self.calibrate)

    @property
    def changes_model(self) -> bool:
        """Whether the saved model is changed."""
        return bool(self.options) or self.reset

    def check(self, files: EvaluationFiles) -> None:
        """Check that the options can be used together.

        Raises:
            UsageError: the fit is not on dev, or also resets.
        """
        if self.options and files.split != "dev":
            raise UsageError(f"{self.options}: fitting uses dev files only; remove --split {files.split}.")
        if self.options and self.reset:
            raise UsageError(f"--reset and {self.options} cannot be used together.")


def check_can_accept_int8(files: EvaluationFiles, fitting: Fitting, precision: str) -> None:
    """Check the options of an evaluation with --accept-int8: it needs int8, and all tasks on the whole dev files.

    Args:
        files: the files of the evaluation.
        fitting: what the evaluation fits.
        precision: the value of --precision.

    Raises:
        UsageError: an option does not allow --accept-int8.
    """
    if precision != "int8":
        raise UsageError(f"--accept-int8 needs --precision int8, but --precision is '{precision}'.")
    others = {"--split": files.split != "dev", "--data": files.others, "--task": files.tasks, "--limit": files.limit}
    for option, is_used in others.items():
        if is_used:
            raise UsageError(f"--accept-int8 needs all tasks on the whole dev files; remove {option}.")
    if fitting.changes_model:
        option = fitting.options or "--reset"
        raise UsageError(f"--accept-int8 and {option} cannot be used together; first run the command with {option}.")
