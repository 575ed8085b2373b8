"""Memory, size of metrics and time of a task with thousands of classes: training, evaluation and prediction.

    python tests/benchmarks/many_classes.py --classes 4000 --rows 300

Sentences are made up; the encoder is by default MiniLM (extra [demo]).
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path

import contest
from encoders import HELP, checkpoint_folder
from workload import memory, report, settings_of_worker

COMMANDS = ("train", "evaluate", "predict")
_WORDS = "a the man woman dog ball runs plays is not in park with red small near two".split()


def main():
    """Train, evaluate and predict, each in a process of its own, and show what each needed."""
    parser = contest.parser("Measure mbert on a task with many classes.", rounds=1)
    parser.add_argument("--classes", type=contest.positive, default=4000, help="number of classes")
    parser.add_argument("--rows", type=contest.positive, default=300, help="rows of the dev file, which is predicted")
    parser.add_argument("--train-rows", type=contest.positive, help="rows of the training file; default: one per class")
    parser.add_argument("--encoder", default="minilm", help=HELP)
    options = parser.parse_args()
    rows = {"train": options.train_rows or options.classes, "dev": options.rows}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_task(folder, options.encoder, options.classes, rows)
        settings = {"folder": name, "device": options.device}
        workers = {each: contest.worker("many_classes.py", {"command": each, **settings}) for each in COMMANDS}

        def problem_of(_, result):
            return contest.undone(result, {"rows": options.rows})

        for results in contest.rounds_of(workers, options.rounds, options.threads, problem_of):
            found = [row_of(each, runs) for each, runs in results.items()]
            contest.write_json(options.json, {"rows": found, "settings": contest.facts(options)})
    contest.show(table_of(f"{options.classes:,} classes, {rows['train']:,} and {rows['dev']:,} rows", found))


def write_task(folder, encoder, classes, rows):
    """Write a recipe of one task, and its files.

    Args:
        folder: where they are written.
        encoder: a name, or a folder; see `encoders.checkpoint_folder`.
        classes: number of classes.
        rows: number of rows of each split.
    """
    rng = random.Random(3)
    for split, count in rows.items():
        with open(folder / f"{split}.tsv", "w", encoding="utf-8") as file:
            file.write("text\tintent\n")
            for row in range(count):
                file.write(f"{' '.join(rng.choices(_WORDS, k=rng.randint(3, 12)))}\tclass-{row % classes}\n")
    head = {"kind": "classification", "labels": [f"class-{number}" for number in range(classes)]}
    recipe = {
        "encoder": {"checkpoint": str(checkpoint_folder(encoder, folder))},
        "tasks": {"intent": {"train": "train.tsv", "dev": "dev.tsv", "text": "text", "label": "intent", "head": head}},
        "curriculum": {"kind": "simultaneous"},
        "training": {"epochs": 1, "max_length": 32},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML


def row_of(name, runs):
    """Return the figures of a command after some rounds."""
    good = contest.good(runs)
    if not good:
        return {"name": name, "error": runs[-1]["error"]}
    keys = ("rss_mb", "metrics_line_bytes", "output_bytes", "seconds")
    return {"name": name, **{key: max(run[key] for run in good) for key in keys}}


def table_of(title, rows):
    """Return the table of the commands."""
    shown = contest.table(title, "", "RSS MB", "a metrics line, kB", "output, kB", "s")
    for row in rows:
        if "error" in row:
            contest.add_failure(shown, row)
            continue
        sizes = [row[key] / 1000 for key in ("metrics_line_bytes", "output_bytes")]
        shown.add_row(
            row["name"], f"{row['rss_mb']:,.0f}", *(f"{each:,.0f}" for each in sizes), f"{row['seconds']:.1f}"
        )
    return shown


def work(settings):
    """Run one command in this process; return the rows of its output, sizes, time and memory."""
    from mbert_cli.cli import main as mbert

    folder = Path(settings["folder"])
    run, evaluated, predicted = folder / "run", folder / "evaluated", folder / "predicted.tsv"
    words = {
        "train": ["train", folder / "recipe.yaml", "-o", run],
        "evaluate": ["evaluate", run, "-o", evaluated],
        "predict": ["predict", run, folder / "dev.tsv", "-o", predicted],
    }[settings["command"]]
    sys.argv = ["mbert", *map(str, words), "-F", "-q", "--device", settings["device"]]
    start = time.perf_counter()
    try:
        mbert()
    except SystemExit as end:
        if end.code:
            raise
    seconds = time.perf_counter() - start
    output = {"train": run / "evaluation", "evaluate": evaluated, "predict": predicted}[settings["command"]]
    table = output if output.is_file() else output / "intent_predictions.tsv"
    files = [output] if output.is_file() else list(output.iterdir())
    return {
        "work": {"rows": len(table.read_bytes().splitlines()) - 1},
        "metrics_line_bytes": len((run / "metrics.jsonl").read_bytes().splitlines()[0]),
        "output_bytes": sum(file.stat().st_size for file in files),
        "seconds": seconds,
        **memory(settings["device"]),
    }


if __name__ == "__main__":
    # With settings it is the worker of one command.
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        report(work(settings_of_worker()))
    else:
        main()
