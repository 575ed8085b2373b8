"""The folder of a sweep: what lies where, which run is which, and how far each has come. No torch here.

    DIR/
      plan.yaml                     the plan, as it was when the sweep last ran
      recipes/NAME.yaml             what a run was begun with: its recipe,
      recipes/NAME.json             and the options and the number of threads
      runs/NAME/                    a run folder like any other
      logs/NAME.log                 what its training said, each attempt below the one before
      table.tsv, .md, .html         the table of what is there
      scores.png                    a figure of it, drawn when a sweep ends

A run is known by what it is made of, not by its name: whatever row, plan or order asks for the same recipe and seed
gets the same run. Only the run folder says that it is done: metrics.jsonl has a line of every epoch. So nothing
beside the runs can contradict them after a crash. What a run was begun with is written before it begins, and counts
only once there is a run.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.errors import UsageError
from mbert_cli.recipe.differences import flat, result_spec
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import left_by_a_crash
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import take_lock
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.sweeps.plan import Plan, PlannedRow
from mbert_cli.sweeps.run import SweepRun, _recipe_of

TABLES = ("table.tsv", "table.md", "table.html")
FIGURE = "scores.png"
_LONGEST = 48  # characters of a name: at most four bytes each, beside what is appended


class SweepFolder:
    """The folder of a sweep.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / "plan.yaml"
        self._lock = path / ".lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other sweeps, creating it if need be.

        Raises:
            RunInUseError: another sweep holds it.
            UsageError: as `check_free` says.
        """
        self.check_free()
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            in_use = f"{self.path} is in use by another mbert sweep; wait for it to end, or choose another -o."
            lock = take_lock(self._lock, f"{in_use} --table shows how far it is.")
        try:
            yield
        finally:
            lock.release()

    def check_free(self) -> None:
        """Check that a sweep may begin, or go on, here.

        Raises:
            UsageError: there are files of others.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; choose another -o.")
        if not self.path.exists() or self.plan_file.is_file():
            return
        others = [each for each in self.path.iterdir() if each != self._lock and not left_by_a_crash(each)]
        if others:
            raise UsageError(f"{self.path} is not empty and holds no sweep; choose another -o.")

    def runs_of(self, plan: Plan) -> "SweepRuns":
        """Return the runs that a plan asks for, each once."""
        wanted: dict[str, tuple[PlannedRow, int]] = {}
        for row in plan.rows:
            for seed in row.seeds:
                wanted.setdefault(_key(row.recipe_of(seed)), (row, seed))
        begun = self._begun()
        names = {key: name for name, key in begun.items() if key in wanted}
        taken = set(names.values())
        runs = {}
        for key, (row, seed) in wanted.items():
            recipe, label = row.recipe_of(seed), f"{row.name}, seed {seed}"
            name = names.get(key) or _free_name(row, seed, taken)
            taken.add(name)
            runs[key] = SweepRun(self.path, name, recipe, label)
        return SweepRuns(runs)

    def _begun(self) -> dict[str, str | None]:
        """Return the names of the runs that were begun here, and what each is made of, where that can be told."""
        found: dict[str, str | None] = {}
        for file in sorted(self.path.glob("recipes/*.yaml")):
            if RunFolder(self.path / "runs" / file.stem).holds_a_run():
                recipe = _recipe_of(file)
                found[file.stem] = None if recipe is None else _key(recipe)
        return found


@dataclass(frozen=True)
class SweepRuns:
    """The runs that a plan asks for; by what they are made of."""

    by_key: Mapping[str, SweepRun]

    def __iter__(self) -> Iterator[SweepRun]:
        return iter(self.by_key.values())

    def __len__(self) -> int:
        return len(self.by_key)

    def of(self, row: PlannedRow) -> list[SweepRun]:
        """Return a row's runs, in the order of its seeds."""
        return [self.by_key[_key(row.recipe_of(seed))] for seed in row.seeds]

    def in_turn(self, rows: Sequence[PlannedRow]) -> list[SweepRun]:
        """Return all runs in the order of training: first the first seeds of all rows; the table is whole soon."""
        most = max(len(row.seeds) for row in rows)
        runs = [self.of(row)[index] for index in range(most) for row in rows if index < len(row.seeds)]
        return list(dict.fromkeys(runs))


def _key(recipe: Recipe) -> str:
    return json.dumps(flat(result_spec(recipe)), sort_keys=True)


def _free_name(row: PlannedRow, seed: int, taken: set[str]) -> str:
    """Return a name for a run's files: ``table-2-pooling-cls-seed-1``."""
    words = re.sub(r"[\W_]+", "-", f"{row.group} {row.name}".lower()).strip("-") or "row"
    name = base = f"{words[-_LONGEST:].strip('-')}-seed-{seed}"
    count = 1
    while name in taken:
        count += 1
        name = f"{base}-{count}"
    return name
