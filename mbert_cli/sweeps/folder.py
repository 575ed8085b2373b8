"""The folder of a sweep: its files, and which run belongs to which recipe.

    DIR/
      plan.yaml                     the plan when the sweep last ran
      search.json                   for a search: the number of trials at the same time
      limits/NAME.json              for a trial of a search: the scores below which it ends early
      recipes/NAME.yaml             the recipe that a run was started with
      recipes/NAME.json             its options, number of threads, and hashes of its files
      runs/NAME/                    a run folder
      logs/NAME.log                 the output of its training processes, newest last
      table.tsv, .md, .html         the table of the runs
      scores.png                    a figure of the scores, drawn when a sweep ends
      search.png                    for a search: the importance of its ranges, and their scores

A run is identified by its recipe and seed, not by its name. So rows can be renamed, moved or shared between plans.
A run is done if its metrics.jsonl has a line for every epoch. No other file records this, so that nothing can
contradict the run folder after a crash. The files in recipes/ are written before a run starts, and are ignored until
the run folder exists.

Must not import torch: fast start-up.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.errors import UsageError
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import left_by_a_crash, read_json
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import LOCK_FILE, take_lock
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.sweeps.file_hashes import FileHashes, identity
from mbert_cli.sweeps.plan import Plan, PlannedRow
from mbert_cli.sweeps.run import SweepRun, read_record

TABLES = ("table.tsv", "table.md", "table.html")
FIGURE = "scores.png"
SEARCH_FIGURE = "search.png"
_MAX_NAME = 48  # characters of a name, each at most four bytes, before a suffix is added


class SweepFolder:
    """The folder of a sweep.

    Args:
        path: the folder. It does not have to exist.
    """

    command = "sweep"
    """The command that writes the folder, for messages."""
    content = "sweep"
    """What the folder contains, for messages."""
    watched_by = " --table shows its progress."
    """How the user sees the progress of the command, for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / "plan.yaml"
        self.search_file = path / "search.json"
        self._lock = path / LOCK_FILE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other sweeps; create it if it does not exist.

        Raises:
            RunInUseError: another sweep has locked the folder.
            UsageError: see `check_free`.
        """
        self.check_free()
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            in_use = f"{self.path} is in use by another mbert {self.command}; wait for it to end, or choose another -o."
            lock = take_lock(self._lock, f"{in_use}{self.watched_by}")
        try:
            yield
        finally:
            lock.release()

    def check_free(self) -> None:
        """Check that a sweep can start or continue in this folder.

        Raises:
            UsageError: the path is a file, or the folder contains other files and no sweep.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; choose another -o.")
        if not self.path.exists() or self.plan_file.is_file():
            return
        others = [each for each in self.path.iterdir() if each != self._lock and not left_by_a_crash(each)]
        if others:
            raise UsageError(f"{self.path} is not empty and contains no {self.content}; choose another -o.")

    def parallel_trials(self, jobs: int, force: bool = False) -> int:
        """Return the number of trials at the same time that the search was started with, on which suggestions depend.

        Args:
            jobs: the number for a new search.
            force: whether the search starts again with `jobs`.
        """
        if force or not self.search_file.is_file():
            return jobs
        parallel = read_json(self.search_file).get("parallel")
        return parallel if isinstance(parallel, int) and parallel > 0 else jobs

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
    """The runs of a plan.

    Args:
        by_identity: the runs by the identities of their recipes.
    """

    by_identity: Mapping[str, SweepRun]

    def __iter__(self) -> Iterator[SweepRun]:
        return iter(self.by_identity.values())

    def __len__(self) -> int:
        return len(self.by_identity)

    def of(self, row: PlannedRow) -> list[SweepRun]:
        """Return the runs of a row, in the order of its seeds."""
        return [self.by_identity[identity(row.recipe_of(seed))] for seed in row.seeds]

    def in_turn(self, rows: Sequence[PlannedRow]) -> list[SweepRun]:
        """Return all runs in the order of training: the first seeds of all rows come first."""
        most = max(len(row.seeds) for row in rows)
        runs = [self.of(row)[index] for index in range(most) for row in rows if index < len(row.seeds)]
        return list(dict.fromkeys(runs))


def _free_name(row: PlannedRow, seed: int, taken: set[str]) -> str:
    """Return an unused name for the files of a run, such as ``table-2-pooling-cls-seed-1``."""
    words = re.sub(r"[\W_]+", "-", f"{row.group} {row.name}".lower()).strip("-") or "row"
    name = base = f"{words[-_MAX_NAME:].strip('-')}-seed-{seed}"
    count = 1
    while name in taken:
        count += 1
        name = f"{base}-{count}"
    return name
