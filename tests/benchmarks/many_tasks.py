"""Start-up and memory of a prediction with a model of many tasks, compared with a model of one task.

    python tests/benchmarks/many_tasks.py --tasks 100 --rounds 5

The models have MiniLM's weights (extra [demo]), and for each task untrained low-rank adapters and a head. Then it
prints the time of each command that copies tasks, for the larger model.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import contest
from encoders import HELP, checkpoint_folder
from ours import load, save_untrained

_TEXT = "a man is playing with a small dog in the park"
COMMANDS = {
    "export": ("many", "task1", "-o", "task"),
    "rename": ("many", "task1", "other", "-o", "renamed"),
    "import": ("renamed", "task", "-o", "more"),
    "remove": ("many", "task1", "-o", "fewer"),
}


def main():
    """Predict with both models alternately, in several rounds; then run each command once."""
    parser = contest.parser("Measure mbert on a model with many tasks.", rounds=5)
    parser.add_argument("--tasks", type=contest.positive, default=100, help="number of tasks")
    parser.add_argument("--rank", type=contest.positive, default=64, help="rank of each task's low-rank adapters")
    parser.add_argument("--encoder", default="minilm", help=HELP)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder, options.encoder, options.tasks, options.rank)
        results = [predictions(folder, options) for _ in range(options.rounds)]
        medians = {
            model: {key: statistics.median(each[model][key] for each in results) for key in ("seconds", "rss_mb")}
            for model in ("one", "many")
        }
        medians["ratios"] = {key: medians["many"][key] / medians["one"][key] for key in medians["one"]}
        medians["commands"] = {
            each: measured(folder, options, "tasks", each, *words)["seconds"] for each, words in COMMANDS.items()
        }
    contest.write_json(options.json, {"rows": medians, "settings": contest.facts(options)})
    print(text_of(options.tasks, medians))


def write_models(folder, encoder, tasks, rank):
    """Write a model of one task to `one`, a model of many tasks to `many`, and an input file."""
    head = {"kind": "classification", "num_classes": 3}
    task = {"train": "train.tsv", "dev": "dev.tsv", "text": "text", "label": "label", "head": head}
    for name, count in (("one", 1), ("many", tasks)):
        recipe = {
            "encoder": {"checkpoint": str(checkpoint_folder(encoder, folder))},
            "adapters": [{"kind": "low_rank", "rank": rank}],
            "tasks": {f"task{number}": task for number in range(count)},
        }
        save_untrained(load(recipe, folder), folder / name)
    (folder / "new.tsv").write_text(f"text\n{_TEXT}\n", encoding="utf-8")


def predictions(folder, options):
    """Predict one row with each model; return the time and memory of each."""
    words = ("new.tsv", "-t", "task0", "-F", "--device", options.device)
    return {name: measured(folder, options, "predict", name, *words, "-o", f"{name}.tsv") for name in ("one", "many")}


def measured(folder, options, *words):
    """Run a command; return its time in seconds and its peak memory in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": os.pathsep.join(sys.path)}
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "mbert_cli", *words, "-q"], cwd=folder, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"mbert {' '.join(words)} failed")
    return {"seconds": time.monotonic() - started, "rss_mb": usage.ru_maxrss / 1000}


def text_of(tasks, medians):
    """Return the figures as text."""
    lines = [
        f"{name}: {medians[model]['seconds']:.2f} s, {medians[model]['rss_mb']:.0f} MB"
        for name, model in (("1 task", "one"), (f"{tasks} tasks", "many"))
    ]
    ratios = medians["ratios"]
    lines.append(f"ratio: time {ratios['seconds']:.2f}, memory {ratios['rss_mb']:.2f}")
    lines += [f"mbert tasks {name}: {seconds:.1f} s" for name, seconds in medians["commands"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
