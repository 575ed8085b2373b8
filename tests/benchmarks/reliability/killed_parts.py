"""Parts of a prediction, of which two are killed and started again, and which are then joined."""

import time
from functools import partial
from pathlib import Path

from experiment import Chance, Experiment, check, once
from killed_prediction import model_to_predict_with
from processes import HARDWARE, finish, kill, start, wait_until, write_sentences

from mbert_cli.cli import app

ROWS = 100_003
PARTS = 7


def _predict_here(*words: str | Path) -> None:
    app(["predict", *map(str, words), *HARDWARE, "-q"], standalone_mode=False)


def _make_parts(run: Path, rows: Path, folder: Path) -> None:
    folder.mkdir()
    for part in range(1, PARTS + 1):
        _predict_here(run, rows, "--shard", f"{part}/{PARTS}", "-o", folder / f"part-{part}.tsv")


def _killed(chance: Chance, folder: Path) -> None:
    run = model_to_predict_with(folder)
    rows = once(folder, f"{ROWS}-rows.tsv", lambda new: write_sentences(new, ROWS, 6) and None)
    whole = once(folder, f"whole-{ROWS}.tsv", lambda new: _predict_here(run, rows, "-o", new))
    undisturbed = once(folder, f"parts-of-{ROWS}", partial(_make_parts, run, rows))
    parts = {part: undisturbed / f"part-{part}.tsv" for part in range(1, PARTS + 1)}
    killed = chance.sample(list(parts), 2)
    for part in killed:
        parts[part] = folder / f"part-{part}.tsv"
        words = ("predict", run, rows, *HARDWARE, "-q", "--shard", f"{part}/{PARTS}", "-o", parts[part])
        process = start(*words)
        if wait_until((folder / f".part-{part}.tsv.partial").exists, process):
            time.sleep(chance.random() * 1.5)
            kill(process)
        finish(start(*words))
    joined = folder / "joined.tsv"
    finish(start("join", *chance.sample(list(parts.values()), PARTS), "-o", joined, "-q"))
    check(joined.read_bytes() == whole.read_bytes(), "the joined parts differ from the undivided prediction")
    expected = {"joined.tsv", *(each for part in killed for each in (f"part-{part}.tsv", f".part-{part}.tsv.partial"))}
    check({each.name for each in folder.iterdir()} == expected, "other files are left")


killed_parts = Experiment(
    24,
    "seven parts of a prediction (--shard) of 100,003 rows, two of them killed with SIGKILL and run again: joined, "
    "they are byte-for-byte the undivided prediction",
    50,
    1,
    _killed,
)
