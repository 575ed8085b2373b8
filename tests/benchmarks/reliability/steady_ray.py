"""A prediction on Ray needs a constant amount of memory, in the command and in each worker."""

import re
import time
from contextlib import suppress
from pathlib import Path

from experiment import Chance, Experiment, check, once
from killed_ray import ray_workers
from processes import HARDWARE, recipe_of, start_python, train_here
from steady_predictions import MOST_MIB, rows_done, write_rows

_ROWS = (100_000, 1_000_000)
_SECONDS_BETWEEN_LOOKS = 0.2


def _peak(process: int) -> int:
    """Return the peak memory of a process so far, in MiB; 0 if it has ended."""
    with suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text()
        if kib := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(kib[1]) // 1024
    return 0


def _peaks(run: Path, rows: int, folder: Path) -> tuple[int, int]:
    """Predict a file; return the peak memory of the command, and the largest of its workers, in MiB."""
    path, out = folder / f"{rows}.tsv", folder / f"{rows}.out.tsv"
    write_rows(path, rows)
    words = ("predict", run, path, "-t", "mood", *HARDWARE, "-q", "-o", out, "--engine", "ray", "--workers", "2")
    command = start_python(*words)
    peaks: dict[int, int] = {}
    while command.poll() is None:
        for process in [command.pid, *(each.pid for each in ray_workers(command.pid))]:
            peaks[process] = max(peaks.get(process, 0), _peak(process))
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    _, messages = command.communicate()
    check(command.returncode == 0, f"exit code {command.returncode}: {messages}")
    check(rows_done(out) == rows, f"the command did not do all {rows:,} rows")
    workers = [peak for process, peak in peaks.items() if process != command.pid]
    check(len(workers) == 2, f"{len(workers)} workers were seen, not 2")
    return peaks[command.pid], max(workers)


def _long_prediction_on_ray(chance: Chance, folder: Path) -> str:
    recipe = recipe_of(folder)
    run = once(folder, "model-for-ray", lambda new: train_here(recipe, new, ["training.epochs=1"]))
    few, many = (_peaks(run, rows, folder) for rows in _ROWS)
    measured = "; ".join(
        f"{name} {before} MiB at {_ROWS[0]:,} rows, {after} MiB at {_ROWS[1]:,}"
        for name, before, after in zip(("command", "worker"), few, many, strict=True)
    )
    check(all(after - before <= MOST_MIB for before, after in zip(few, many, strict=True)), measured)
    return measured


long_prediction_on_ray = Experiment(
    17,
    "predict on a Ray cluster with two workers: peak memory of the command and of each worker at 1,000,000 rows is at "
    "most 64 MiB above that at 100,000 rows",
    1,
    0,  # the workers run the code of `long_prediction`
    _long_prediction_on_ray,
)
