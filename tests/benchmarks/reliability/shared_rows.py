"""Predictions, vectors and evaluations in one, two and three processes, which divide the rows."""

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from commands import mbert_in_ranks
from crashes import contents
from experiment import Chance, Experiment, check
from killed_prediction import model_to_predict_with
from processes import HARDWARE, write_sentences

from mbert_cli.cli import app

ROWS = 1500  # at most
_SMALL = {
    "mbert_cli.prediction.windows._MOST_ROWS": 64,
    "mbert_cli.prediction.divided_files._LEAST_BYTES": 500,
    "mbert_cli.data.examples._WINDOW": 64,
    "mbert_cli.prediction.run_model.TOKEN_BUDGETS": {"cpu": 300},
}
"""Small windows, parts and batches, so that a few hundred rows have many of them."""


def _here(*words: str | Path) -> str:
    """Run a command in this process; return what it prints."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        for name, value in _SMALL.items():
            patch.setattr(name, value)
        app([*map(str, words), *HARDWARE, "-q"], standalone_mode=False)
    return out.getvalue()


def _in_processes(count: int, *words: str | Path, cwd: Path) -> str:
    ended = mbert_in_ranks(count, *words, *HARDWARE, "-q", cwd=cwd, patches=_SMALL)
    for rank, each in enumerate(ended):
        check(each.returncode == 0 and not each.stderr, f"process {rank}: exit code {each.returncode}: {each.stderr}")
        check(rank == 0 or not each.stdout, f"process {rank} printed {each.stdout[:100]}")
    return ended[0].stdout


def _labelled(path: Path, rows: int, chance: Chance) -> Path:
    texts = path.read_text(encoding="utf-8").splitlines()[1:]
    lines = (f"{text}\t{chance.choice(['low', 'mid', 'high'])}" for text in texts[:rows])
    path.write_text("\n".join(["id\ttext\tmood", *lines]) + "\n", encoding="utf-8")
    return path


def _shared(chance: Chance, folder: Path) -> None:
    run = model_to_predict_with(folder)
    count = 2 + chance.index % 2
    rows = chance.randint(1, ROWS)
    rows += rows % count == 0  # not divisible
    data = _labelled(write_sentences(folder / "in.tsv", rows, chance.randrange(1000)), rows, chance)
    (folder / "one").mkdir()
    (folder / "several").mkdir()
    format_ = chance.choice([".tsv", ".csv", ".jsonl", ".npy"])
    command = "embed" if format_ == ".npy" else "predict"
    for words in (
        (command, run, data, "-t", "mood", "-o", f"out{format_}"),
        ("evaluate", run, "--data", f"mood={data}", "--json", "-o", "evaluation"),
    ):
        one = [folder / "one" / word if word == words[-1] else word for word in words]
        several = [folder / "several" / word if word == words[-1] else word for word in words]
        check(_here(*one) == _in_processes(count, *several, cwd=folder), f"{words[0]} prints other results")
    check(contents(folder / "one") == contents(folder / "several"), "the files differ")
    written = (folder / "several" / "evaluation" / "mood_predictions.tsv").read_text(encoding="utf-8").splitlines()
    lines = [int(line.split("\t")[0]) for line in written[1:]]
    check(lines == list(range(2, rows + 2)), "a row is missing, doubled or out of order")


shared_rows = Experiment(
    7,
    "predict or embed, and evaluate, in two and three processes, with numbers of rows that these do not divide: every "
    "row exactly once, all files byte-for-byte those of one process",
    50,
    1,
    _shared,
)
