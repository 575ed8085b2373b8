"""Compares mbert's estimates with the run: its time, the first remaining time that it shows, and its disk space."""

import contextlib
import csv
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import contest
from encoders import HELP, checkpoint_folder
from ours import course_recipe, load
from workload import memory, report, settings_of_worker

RUNS = ("demo", "demo_frozen", "sick", "sick_ensemble", "course")
SICK_ROWS = {"train": 4439, "dev": 495}
_LOOK_EVERY = 0.05  # seconds between two measurements of the disk


def main():
    """Estimate and train each run, and show both results."""
    parser = contest.parser(__doc__, rounds=1)
    parser.add_argument("--runs", type=contest.words, default=",".join(RUNS), help="separated by commas")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--epochs", type=contest.positive, default=2, help="epochs of each run")
    parser.add_argument("--limit", type=contest.positive, help="maximum number of rows of each file")
    parser.add_argument("--encoder", default="minilm", help=HELP)
    options = parser.parse_args()
    contest.check_names(options.runs, RUNS, "--runs")
    keys = ("precision", "device", "epochs", "limit", "encoder")
    common = {key: getattr(options, key) for key in keys}
    contenders = {name: contest.worker("estimates.py", {"name": name, **common}) for name in options.runs}
    for results in contest.rounds_of(contenders, options.rounds, options.threads, problem_of):
        rows = [row_of(name, runs) for name, runs in results.items()]
        contest.write_json(options.json, {"rows": rows, "settings": contest.facts(options)})
    contest.show(table_of(rows))


def problem_of(_, result):
    """Return which steps of a run are missing, or "" if none are."""
    steps, expected = result["steps"], result["estimate"]["steps"]
    return "" if steps == expected else f"took {steps:,} steps of {expected:,}"


def row_of(name, runs):
    """Return the figures of a run: each estimate and the actual value."""
    found = contest.good(runs)
    if not found:
        return {"name": name, "error": runs[-1]["error"]}
    last, estimate = found[-1], found[-1]["estimate"]
    seconds = [estimate[key] for key in ("train_seconds", "dev_seconds", "save_seconds")]
    return {
        "name": name,
        "seconds": [sum(seconds), last["seconds"]],
        "first_left": last["first_left"],
        "disk_mb": [estimate["disk"] / 1e6, last["disk"] / 1e6],
        "disk_at_most_mb": [estimate["disk_at_most"] / 1e6, last["disk_at_most"] / 1e6],
        "rss_mb": last["rss_mb"],
    }


def table_of(rows):
    """Return the table of estimates, actual values and their ratios."""
    names = {"seconds": "s", "first_left": "s left, first shown", "disk_mb": "MB kept", "disk_at_most_mb": "MB at most"}
    shown = contest.table("estimated / actual (ratio)", "", *names.values())
    for row in rows:
        if "error" in row:
            contest.add_failure(shown, row)
            continue
        cells = [f"{a:,.0f} / {b:,.0f} ({a / b:.2f})" if b else f"{a:,.0f} / 0" for a, b in map(row.get, names)]
        shown.add_row(row["name"], *cells)
    return shown


def recipe_of(settings, folder):
    """Return the recipe of a run as plain values."""
    encoder, name = str(checkpoint_folder(settings["encoder"], folder)), settings["name"]
    if name.startswith("demo"):
        recipe = {"extends": str(Path(__file__).parents[2] / "recipes" / "demo.yaml")}
        if settings["encoder"] != "minilm":  # the demo's encoder is pinned, and its adapters are for its size
            recipe |= {
                "encoder": {"checkpoint": encoder, "sha256": None},
                "adapters": [{"kind": "low_rank", "rank": 8}],
            }
        if name == "demo_frozen":
            recipe |= {"curriculum": {"kind": "simultaneous"}}
    elif name.startswith("sick"):
        recipe = sick_recipe(encoder, folder)
    else:
        recipe = course_recipe(encoder)
    training = recipe.setdefault("training", {})
    training["epochs"] = settings["epochs"]
    training |= {"freeze_encoder": True} if name == "demo_frozen" else {}
    training |= {"members": 2} if name == "sick_ensemble" else {}
    return recipe


def sick_recipe(encoder, folder):
    """Write files of the size of SICK with made-up sentences, and return a recipe with their two tasks."""
    rng, words = random.Random(5), "a the man woman dog ball runs plays is not in park with red small near two".split()

    def sentence():
        return " ".join(rng.choice(words) for _ in range(rng.randint(5, 14)))

    for split, rows in SICK_ROWS.items():
        with open(folder / f"sick-{split}.tsv", "w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, delimiter="\t", lineterminator="\n")
            out.writerow(["id", "first", "second", "relatedness", "entailment"])
            for row in range(rows):
                label = rng.choice(("ENTAILMENT", "NEUTRAL", "CONTRADICTION"))
                out.writerow([row, sentence(), sentence(), f"{rng.uniform(0, 5):.1f}", label])
    files = {split: str(folder / f"sick-{split}.tsv") for split in SICK_ROWS}
    common = {**files, "text": ["first", "second"]}
    labels = ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"]
    tasks = {
        "related": {**common, "label": "relatedness", "head": {"kind": "cosine_similarity", "scale": 5}},
        "entails": {**common, "label": "entailment", "head": {"kind": "classification", "labels": labels}},
    }
    return {"encoder": {"checkpoint": encoder}, "tasks": tasks, "curriculum": {"kind": "simultaneous"}}


def work(settings):
    """Estimate a run and train it. Return both results."""
    from mbert_cli.machine.hardware import choose
    from mbert_cli.storage.run_folder import RunFolder
    from mbert_cli.storage.run_lock import locked
    from mbert_cli.terminal.console import Console
    from mbert_cli.training.dry_run import validate
    from mbert_cli.training.fit import fit
    from mbert_cli.training.members import fit_members
    from mbert_cli.training.options import RunOptions
    from mbert_cli.training.time_left import TimeLeft

    quiet, limit = Console(quiet=True), settings["limit"]
    hardware = choose(settings["device"], settings["precision"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = load(recipe_of(settings, folder), folder)
        run = RunFolder(folder / "run")
        options = RunOptions(hardware, quiet, limit=limit)
        estimate = validate(recipe, run.path, options).as_json()
        shown, count_step = [], TimeLeft.step

        def counted(self, *arguments):
            count_step(self, *arguments)
            left = self.seconds()
            if left is not None and not shown:
                shown.append((time.monotonic(), left))

        TimeLeft.step = counted
        with watched(run.path) as peak, locked(run):
            start = time.monotonic()
            members = recipe.training.members
            (fit_members if members > 1 else fit)(recipe, run, options)
            end = time.monotonic()
        at, left = shown[0]
        # The time left is that of the member that trains.
        lines = run.read_metrics() if members == 1 else RunFolder(run.members / "1").read_metrics()
        took = end - at if members == 1 else sum(each.seconds.train + each.seconds.dev for each in lines)
        return {
            "estimate": estimate,
            "steps": run.read_metrics()[-1].step,
            "seconds": end - start,
            "first_left": [left, took],
            "disk": size_of(run.path),
            "disk_at_most": max(peak),
            **memory(settings["device"]),
        }


@contextlib.contextmanager
def watched(folder):
    """Record the bytes of a folder while the block runs."""
    found, done = [0], threading.Event()

    def look():
        while not done.wait(_LOOK_EVERY):
            found.append(size_of(folder))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def size_of(folder):
    """Return the bytes of a folder's files. A file with two names counts once."""
    sizes = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = Path(path, name).stat()
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


if __name__ == "__main__":
    # With settings it is the worker of one run.
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        report(work(settings_of_worker()))
    else:
        main()
