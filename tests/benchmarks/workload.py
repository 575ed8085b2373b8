"""The work of all contenders (the same rows in the same steps), and how a contender reports its measurements.

This file imports only the standard library, because it also runs in the peers' environments.
"""

import csv
import json
import os
import random
import resource
import sys
from pathlib import Path

BATCH_SIZE = 32  # rows of each task in a step
MAX_LENGTH = 128
LEARNING_RATE = 2e-5
COLUMNS = {
    "sst": ("ids-sst", ("sentence",), "sentiment"),
    "quora": ("quora", ("sentence1", "sentence2"), "is_duplicate"),
    "sts": ("sts", ("sentence1", "sentence2"), "similarity"),
}
"""For each task the beginning of its file names, its text columns and its label column."""
_MARK = "RESULT "


def course_file(task, split):
    """Return the path of one of the course's files."""
    folder = Path(os.environ.get("MBERT_DATA", "data"))
    path = folder / f"{COLUMNS[task][0]}-{split}.csv"
    if not path.is_file():
        sys.exit(f"{path}: there is no such file; set MBERT_DATA to the folder of the course's files.")
    return path


def read_rows(task, split):
    """Return the usable rows of a file: the texts, followed by the label as a number."""
    _, texts, label = COLUMNS[task]
    with open(course_file(task, split), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        (*(row[text] for text in texts), float(row[label]))
        for row in rows
        if row[label] and row[label].strip() and all(row[text] and row[text].strip() for text in texts)
    ]


def draw_steps(sizes, count, batch_size=BATCH_SIZE, seed=0):
    """Return, for each of `count` steps, the indices of each task's rows: permutations, one after another.

    Args:
        sizes: number of rows of each task.
        count: number of steps.
        batch_size: rows of each task in a step.
        seed: seed of the permutations.
    """
    streams = {}
    for task, size in sizes.items():
        rng, stream = random.Random(f"{seed} {task}"), []
        while len(stream) < count * batch_size:
            stream += rng.sample(range(size), size)
        streams[task] = stream
    return [
        {task: stream[step * batch_size : (step + 1) * batch_size] for task, stream in streams.items()}
        for step in range(count)
    ]


def course_steps(settings):
    """Return the rows of each task, and the steps that a training contender takes: warm-up, timed, profiled ones.

    With `distinct` in the settings, only that many steps differ; they repeat in turn.
    """
    rows = {task: read_rows(task, "train") for task in COLUMNS}
    sizes, count = {task: len(each) for task, each in rows.items()}, settings["warm_up"] + settings["steps"]
    count += settings.get("profiled", 0)
    steps = draw_steps(sizes, count, settings["batch_size"])
    distinct = settings.get("distinct", count)
    return rows, [steps[index % distinct] for index in range(count)]


def wait_for(device):
    """Wait until a device has finished its work."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def memory(device):
    """Return the peak memory of this process, `rss_mb`, and of its tensors on a GPU, `gpu_mb`."""
    found = {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device == "cuda":
        import torch

        found["gpu_mb"] = torch.cuda.max_memory_allocated() / (1 << 20)
    return found


def settings_of_worker():
    """Return the settings of this worker, which are its argument."""
    return json.loads(sys.argv[1])


def report(result):
    """Print the result of a worker, as its last line."""
    print(_MARK + json.dumps(result), flush=True)


def result_in(output):
    """Return the result in the output of a worker, or None."""
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    return json.loads(lines[-1].removeprefix(_MARK)) if lines else None
