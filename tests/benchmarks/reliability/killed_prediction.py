"""Predictions that are killed and started again."""

import random
import time
from pathlib import Path

from experiment import Experiment, check, once
from processes import HARDWARE, finish, kill, recipe_of, start, train_here, wait_until, write_sentences

ROWS = 100_000
_PIECE = 8192  # rows that are predicted and saved together


def model_to_predict_with(folder: Path) -> Path:
    """Return a trained run that all trials share."""
    recipe = recipe_of(folder)
    return once(folder, "model-to-predict-with", lambda new: train_here(recipe, new, ["training.epochs=1"]))


def _killed(rng: random.Random, folder: Path) -> None:
    run = model_to_predict_with(folder)
    rows = once(folder, "rows.tsv", lambda new: write_sentences(new, ROWS, 5) and None)
    whole = once(
        folder, "whole.tsv", lambda new: finish(start("predict", run, rows, *HARDWARE, "-q", "-o", new)) and None
    )
    out = folder / "out.tsv"
    words = ("predict", run, rows, *HARDWARE, "-q", "-o", out)
    for _ in range(rng.choice([1, 1, 2, 3])):
        process = start(*words)
        pieces, journal = rng.randrange(2, ROWS // _PIECE + 1), folder / ".out.tsv.partial" / "journal.jsonl"
        if wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > pieces, process):  # noqa: B023
            time.sleep(rng.random() * 0.05)
            kill(process)
    if not (out.exists() and not journal.exists()):
        finish(start(*words))
    check(out.read_bytes() == whole.read_bytes(), "the output differs from that of an uninterrupted prediction")
    check([each.name for each in folder.iterdir()] == ["out.tsv"], "temporary files are left beside the output")


killed_prediction = Experiment(
    4,
    "SIGKILL one to three times during a prediction, then run again: the output is byte-for-byte identical, "
    "no temporary files are left",
    100,
    1,
    _killed,
)
