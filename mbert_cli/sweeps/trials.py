"""The trials of a search, suggested by Optuna. The run folders are the only record of a search.

A search is a function of its plan and of the scores of its trials. When it continues, Optuna suggests all trials again
from the first one, and reads the scores of finished trials from their run folders. With N trials at the same time,
trial t is suggested from the results of the trials up to t - N, in their order, whatever the order in which they end.
So the suggestions do not depend on where a search was stopped, nor on how long trials take.

Must not import torch: fast start-up.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mbert_cli.errors import UsageError
from mbert_cli.storage.metrics_file import EpochRecord, kept_epoch
from mbert_cli.sweeps.file_hashes import FileHashes, identity
from mbert_cli.sweeps.folder import SweepFolder, SweepRuns
from mbert_cli.sweeps.plan import Plan, PlannedRow
from mbert_cli.sweeps.ranges import shown_value
from mbert_cli.sweeps.run import SweepRun
from mbert_cli.sweeps.search_plan import Search

if TYPE_CHECKING:
    from optuna.trial import Trial

_FIRST_PRUNED = 5  # trials that are done before one is pruned: the default of Optuna's MedianPruner


def check_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("optuna") is None:
        raise UsageError("a plan with `search` needs Optuna; install it: pip install 'mbert-cli[search]'.")


class Trials:
    """The trials that a search has suggested so far.

    Args:
        plan: a plan with a search.
        folder: the folder of the sweep.
        parallel: number of trials at the same time.
    """

    def __init__(self, plan: Plan, folder: SweepFolder, parallel: int) -> None:
        assert plan.search is not None
        self._plan = plan
        self._search: Search = plan.search
        self._folder = folder
        self._parallel = parallel
        self._hashes = FileHashes()
        self._runs: dict[str, SweepRun] = {}
        self._rows: list[PlannedRow] = []
        self._asked: list[Trial] = []
        self._told = 0
        self._seconds = 0.0
        self._scores: list[dict[int, float]] = []  # of each trial that is done, the overall score of each round
        self._limits: dict[str, dict[int, float]] = {}
        with silent():
            import optuna

            sampler = optuna.samplers.TPESampler(seed=self._search.section.seed)
            self._study = optuna.create_study(direction="maximize", sampler=sampler)

    @property
    def plan(self) -> Plan:
        """The plan, with a row for each trial."""
        return replace(self._plan, rows=tuple(self._rows))

    @property
    def runs(self) -> SweepRuns:
        """The runs of the trials. Trials with the same values share one."""
        return SweepRuns(self._runs)

    def limits_of(self, run: SweepRun) -> Mapping[int, float]:
        """Return the scores below which a trial ends early: the median of the earlier trials in each round.

        They are those of Optuna's MedianPruner, if it knows the trials that the values of the trial are suggested from.
        """
        return self._limits.get(run.name, {})

    def suggest(self) -> Iterator[SweepRun]:
        """Yield the run of each trial that can be suggested now, unless an earlier trial has the same run."""
        while True:
            needed = len(self._asked) - self._parallel + 1
            while self._told < needed and self._tell():
                pass
            if self._told < needed or not self._goes_on():
                return
            run = self._ask()
            if run is not None:
                yield run

    def _goes_on(self) -> bool:
        return len(self._asked) < self._search.trials and self._seconds < self._search.max_seconds

    def _ask(self) -> SweepRun | None:
        """Suggest the next trial; return its run if no earlier trial has it."""
        number = len(self._asked) + 1
        with silent():
            trial = self._study.ask({each.key: each.distribution() for each in self._search.ranges})
        values = {each.key: each.value_of(trial.params[each.key]) for each in self._search.ranges}
        recipe = self._search.recipe_of(values)
        seed = self._search.training_seed
        row = PlannedRow("", f"trial {number}", recipe, (recipe.training.seed if seed is None else seed,), values)
        self._asked.append(trial)
        self._rows.append(row)
        key = identity(row.recipe_of(row.seeds[0]))
        if key in self._runs:
            return None
        shown = ", ".join(f"{each.name} {shown_value(values[each.key])}" for each in self._search.ranges)
        name, label = f"trial-{number}-seed-{row.seeds[0]}", f"trial {number} ({shown})"
        run = SweepRun(self._folder.path, name, row.recipe_of(row.seeds[0]), label, self._hashes)
        self._runs[key] = run
        if self._search.section.pruning == "median" and recipe.training.members == 1:
            self._limits[name] = medians(self._scores)
        return run

    def _tell(self) -> bool:
        """Give Optuna the result of the next trial; return False if there is none yet."""
        from optuna.trial import TrialState

        trial, (run,) = self._asked[self._told], self.runs.of(self._rows[self._told])
        state = run.state()
        if not run.is_settled(state) or not run.has_its_recipe():
            return False
        self._told += 1
        if state.status == "failed":
            self._study.tell(trial, state=TrialState.FAIL)
            return True
        records = run.folder.read_metrics()
        scores = overall_scores(records)
        self._seconds += sum(each.seconds.train + each.seconds.dev for each in records)
        for number, score in scores.items():
            trial.report(score, number)
        if state.status == "pruned":
            self._study.tell(trial, state=TrialState.PRUNED)
            return True
        kept = kept_epoch(records)
        assert kept is not None
        self._study.tell(trial, kept.overall)
        self._scores.append(scores)
        return True


def overall_scores(records: list[EpochRecord]) -> dict[int, float]:
    """Return the overall score of each round that was scored, by its number."""
    return {each.epoch: each.overall for each in records if each.overall is not None}


def medians(trials: list[dict[int, float]]) -> dict[int, float]:
    """Return the median score of each round over the trials that have it; empty before five trials are done.

    Args:
        trials: the scores of each trial that is done, by round.
    """
    import numpy as np

    if len(trials) < _FIRST_PRUNED:
        return {}
    rounds = sorted({number for each in trials for number in each})
    return {number: float(np.percentile([each[number] for each in trials if number in each], 50)) for number in rounds}


@contextmanager
def silent() -> Iterator[None]:
    """Discard the log messages and warnings of Optuna within the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import optuna

        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(level)
