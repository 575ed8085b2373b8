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

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.errors import UsageError
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import left_by_a_crash
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import take_lock
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.sweeps.file_hashes import FileHashes, identity
from mbert_cli.sweeps.plan import Plan, PlannedRow
from mbert_cli.sweeps.run import SweepRun, read_record

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
        """Return the runs of a plan; rows with the same recipe and seed share a run."""
        wanted: dict[str, tuple[PlannedRow, int]] = {}
        for row in plan.rows:
            for seed in row.seeds:
                wanted.setdefault(identity(row.recipe_of(seed)), (row, seed))
        hashes = FileHashes()
        names = self._existing_names({key: row.recipe_of(seed) for key, (row, seed) in wanted.items()}, hashes)
        taken = set(names.values())
        runs = {}
        for key, (row, seed) in wanted.items():
            name = names.get(key) or _free_name(row, seed, taken)
            taken.add(name)
            runs[key] = SweepRun(self.path, name, row.recipe_of(seed), f"{row.name}, seed {seed}", hashes)
        return SweepRuns(runs)

    def _existing_names(self, wanted: Mapping[str, Recipe], hashes: FileHashes) -> dict[str, str]:
        """Return the names of the runs that exist, by the identities of the recipes that want them.

        Args:
            wanted: recipes by their identities.
            hashes: computes the hashes of their files. They show that a run is the same after its files were moved.
        """
        existing = {}
        for file in sorted(self.path.glob("recipes/*.yaml")):
            record = read_record(file) if RunFolder(self.path / "runs" / file.stem).holds_a_run() else None
            if record is not None:
                existing[file.stem] = record
        by_path = {identity(record.recipe): name for name, record in existing.items()}
        names = {key: by_path[key] for key in wanted if key in by_path}
        by_hash = {
            identity(record.recipe, record.files): name
            for name, record in existing.items()
            if record.files and name not in names.values()
        }
        for key, recipe in wanted.items():
            if by_hash and key not in names:
                name = by_hash.pop(identity(recipe, hashes.of(recipe)), None)
                if name is not None:
                    names[key] = name
        return names


@dataclass(frozen=True)
class SweepRuns:
    """The runs that a plan asks for; by what they are made of."""

    by_identity: Mapping[str, SweepRun]

    def __iter__(self) -> Iterator[SweepRun]:
        return iter(self.by_identity.values())

    def __len__(self) -> int:
        return len(self.by_identity)

    def of(self, row: PlannedRow) -> list[SweepRun]:
        """Return a row's runs, in the order of its seeds."""
        return [self.by_identity[identity(row.recipe_of(seed))] for seed in row.seeds]

    def in_turn(self, rows: Sequence[PlannedRow]) -> list[SweepRun]:
        """Return all runs in the order of training: first the first seeds of all rows; the table is whole soon."""
        most = max(len(row.seeds) for row in rows)
        runs = [self.of(row)[index] for index in range(most) for row in rows if index < len(row.seeds)]
        return list(dict.fromkeys(runs))


def _free_name(row: PlannedRow, seed: int, taken: set[str]) -> str:
    """Return a name for a run's files: ``table-2-pooling-cls-seed-1``."""
    words = re.sub(r"[\W_]+", "-", f"{row.group} {row.name}".lower()).strip("-") or "row"
    name = base = f"{words[-_LONGEST:].strip('-')}-seed-{seed}"
    count = 1
    while name in taken:
        count += 1
        name = f"{base}-{count}"
    return name
