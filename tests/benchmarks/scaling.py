"""How the time of mbert's training step grows with tokens, with the hidden size, and with tasks at equal tokens.

Weights are random and sentences are made up, so only mbert is needed.
"""

import dataclasses
import random
import statistics
import sys
import tempfile
from pathlib import Path

import contest
import limit
from encoders import write_random_encoder
from ours import load, timed_steps
from workload import draw_steps, memory, report, settings_of_worker

_WORDS = 30_000
_ROWS = 1024
_HEAD_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Point:
    """One measured step.

    Args:
        rows: number of sentences in a step, over all tasks.
        hidden: hidden size of the encoder. The feed-forward sublayer is four times as wide.
        tasks: number of tasks. Each has the same number of rows.
    """

    rows: int = 96
    hidden: int = 384
    tasks: int = 3


SWEEPS = {
    "tokens": [Point(rows=rows) for rows in (24, 48, 96, 192, 384)],
    "hidden size": [Point(hidden=hidden) for hidden in (128, 256, 384, 512, 768)],
    "tasks": [Point(tasks=tasks) for tasks in (1, 2, 4, 8, 16, 32)],
}


def main():
    """Run the sweeps."""
    parser = contest.parser(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--sweeps", type=contest.words, default=",".join(SWEEPS), help="separated by commas")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--layers", type=contest.positive, default=6)
    parser.add_argument(
        "--adapters", type=contest.words, default="none", help="kinds of adapters for each task, separated by commas"
    )
    parser.add_argument("--steps", type=contest.positive, default=8, help="timed steps of each point in a round")
    parser.add_argument("--warm-up", type=contest.positive, default=3, help="steps before these, which are not timed")
    options = parser.parse_args()
    contest.check_names(options.sweeps, SWEEPS, "--sweeps")
    points = {point: name_of(point) for sweep in options.sweeps for point in SWEEPS[sweep]}
    keys = ("precision", "layers", "adapters", "steps", "warm_up", "device")
    common = {key: getattr(options, key) for key in keys}
    contenders = {
        name: contest.worker("scaling.py", dataclasses.asdict(point) | common) for point, name in points.items()
    }
    expected = {name: work_of(point, options.warm_up + options.steps) for point, name in points.items()}

    def problem_of(name, result):
        return contest.undone(result, expected[name])

    for results in contest.rounds_of(contenders, options.rounds, options.threads, problem_of):
        rows = {name: row_of(point, name, results[name]) for point, name in points.items()}
        sweeps = {sweep: [rows[name_of(point)] for point in SWEEPS[sweep]] for sweep in options.sweeps}
        contest.write_json(options.json, {"sweeps": sweeps, "settings": contest.facts(options)})
    contest.show(*(sweep_table(sweep, each) for sweep, each in sweeps.items()))


def name_of(point):
    """Return a point's name."""
    return f"{point.rows} rows, hidden {point.hidden}, {point.tasks} tasks"


def work_of(point, steps):
    """Return the numbers of sentences and tokens of all steps of a point, with [CLS] and [SEP]."""
    sizes = dict.fromkeys(names_of_tasks(point.tasks), _ROWS)
    drawn = draw_steps(sizes, steps, batch_size=point.rows // point.tasks)
    rows = [row for step in drawn for each in step.values() for row in each]
    lengths = [len(words) + 2 for words, _ in sentences()]
    return {"sentences": len(rows), "tokens": sum(lengths[row] for row in rows)}


def names_of_tasks(count):
    """Return the names of a point's tasks."""
    return [f"task{index}" for index in range(count)]


def row_of(point, name, runs):
    """Return the figures of a point after some rounds."""
    found = contest.good(runs)
    if not found:
        return {"name": name, "error": runs[-1]["error"]}
    median = 1000 * statistics.median(each for run in found for each in run["times"])
    row = {
        **dataclasses.asdict(point),
        "name": name,
        "tokens": found[0]["tokens"],
        "ms_per_step": median,
        "us_per_token": 1000 * median / found[0]["tokens"],
        "rss_mb": max(run["rss_mb"] for run in found),
    }
    if "limit_times" in found[0]:
        row["limit_ms"] = 1000 * statistics.median(each for run in found for each in run["limit_times"])
    return row


def sweep_table(sweep, rows):
    """Return the table of a sweep. Each point is compared with the first one that did not fail."""
    table = contest.table(f"cost against {sweep}", "", "tokens", "ms/step", "x first", "us/token", "RSS MB", "of limit")
    ran = [row for row in rows if "error" not in row]
    for row in rows:
        if "error" in row:
            contest.add_failure(table, row)
            continue
        cells = [f"{row['tokens']:,.0f}", f"{row['ms_per_step']:,.1f}"]
        cells += [f"{row['ms_per_step'] / ran[0]['ms_per_step']:.2f}", f"{row['us_per_token']:.1f}"]
        cells += [f"{row['rss_mb']:,.0f}", f"{row['limit_ms'] / row['ms_per_step']:.0%}" if "limit_ms" in row else ""]
        table.add_row(row["name"], *cells)
    return table


def work(settings):
    """Time the steps of one point."""
    from mbert_cli.encoder.shape import EncoderShape

    hidden, tasks = settings["hidden"], settings["tasks"]
    count = settings["warm_up"] + settings["steps"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = EncoderShape(
            hidden_size=hidden,
            num_layers=settings["layers"],
            num_heads=hidden // _HEAD_SIZE,
            intermediate_size=4 * hidden,
        )
        encoder = folder / "encoder"
        encoder.mkdir()
        write_random_encoder(shape, encoder)
        write_tokenizer(encoder)
        write_sentences(folder / "rows.tsv")
        task = {
            "train": "rows.tsv",
            "dev": "rows.tsv",
            "text": "sentence",
            "label": "label",
            "head": {"kind": "classification", "num_classes": 2},
        }
        recipe = {
            "encoder": {"checkpoint": str(encoder)},
            "adapters": [{"kind": kind} for kind in settings["adapters"]],
            "tasks": dict.fromkeys(names_of_tasks(tasks), task),
            "curriculum": {"kind": "simultaneous"},
            "training": {"epochs": 1},
        }
        run = folder / "run"
        run.mkdir()
        found = timed_steps(
            load(recipe, folder),
            run,
            settings["precision"],
            lambda sizes: draw_steps(sizes, count, batch_size=settings["rows"] // tasks),
            settings["warm_up"],
            device=settings["device"],
        )
    result = {"times": found.times, "tokens": sum(found.tokens), "work": found.work, **memory(settings["device"])}
    if not settings["adapters"] and settings["device"] == "cpu":
        products = limit.step("full", found.tokens, found.shape, rank=0)
        result["limit_times"] = limit.measure(products, settings["precision"] == "bf16", len(found.times))
    return result


def write_tokenizer(folder):
    """Write a tokenizer for the words w0, w1, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = special + [f"w{number}" for number in range(_WORDS)]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def sentences():
    """Return labelled sentences of 4 to 28 words. A few words are frequent, as in natural language."""
    rng = random.Random(0)
    found = []
    for _ in range(_ROWS):
        numbers = [min(_WORDS, int(rng.paretovariate(0.7))) - 1 for _ in range(rng.randint(4, 28))]
        found.append(([f"w{number}" for number in numbers], rng.randint(0, 1)))
    return found


def write_sentences(path):
    """Write the labelled sentences."""
    lines = [f"{' '.join(words)}\t{label}" for words, label in sentences()]
    path.write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # With settings it is the worker of one point.
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        report(work(settings_of_worker()))
    else:
        main()
