"""Parts of a prediction, of which two are killed and started again, and which are then joined."""

import time
from functools import partial
from pathlib import Path

import pytest
from experiment import Chance, Experiment, check, once
from killed_prediction import model_to_predict_with
from processes import HARDWARE, finish, kill, start, wait_until, write_sentences

from mbert_cli.cli import app

ROWS = 100_003
PARTS = 7
MOST_ROWS = 8192
"""Rows of a piece, which are predicted and saved together."""
LONGEST_WAIT = 1.5  # seconds between a saved piece and the kill


def _patches() -> dict[str, object]:
    return {"mbert_cli.prediction.windows._MOST_ROWS": MOST_ROWS}


def _predict_here(*words: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _patches().items():
            patch.setattr(name, value)
        app(["predict", *map(str, words), *HARDWARE, "-q"], standalone_mode=False)


def _make_parts(run: Path, rows: Path, folder: Path) -> None:
    folder.mkdir()
    for part in range(1, PARTS + 1):
        _predict_here(run, rows, "--shard", f"{part}/{PARTS}", "-o", folder / f"part-{part}.tsv")


def _has_saved(partial_output: Path, pieces: int) -> bool:
    """Return whether a prediction has begun and has saved a number of pieces."""
    journal = partial_output / "journal.jsonl"
    lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
    return partial_output.exists() and lines - 2 >= pieces  # the first two are the fingerprint and the header


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
        process = start(*words, patches=_patches())
        pieces = chance.randrange(max(1, ROWS // PARTS // MOST_ROWS))
        if wait_until(partial(_has_saved, folder / f".part-{part}.tsv.partial", pieces), process):
            time.sleep(chance.random() * LONGEST_WAIT)
            kill(process)
        finish(start(*words, patches=_patches()))
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
