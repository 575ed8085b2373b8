"""A model of mbert's throughput with many processes, from measured and published constants.

Without options, it prints what the model predicts for 8, 64 and 512 GPUs, and for 10^10 rows. All constants are printed
too. The formulas are in `scale_formulas.py`, the measurements in `scale_measure.py`. The tables are Markdown.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import contest
import limit
import scale_formulas as formulas
import scale_measure
from encoders import HELP, PUBLISHED, checkpoint_folder, shape_of
from workload import draw_steps

MOST = 4
"""The largest number of processes that `--check` compares with the model."""
COUNTS = (8, 64, 512)
_ADAMW_VALUES = 7  # AdamW reads weight, gradient and two moments, and writes weight and two moments
_HOUR = 3600
_DRAWS = 30  # batches from which the imbalance is computed

ASSUMED = {
    "gpus": ("8,64,512", "numbers of GPUs"),
    "batch-rows": (256, "rows of a step, of all GPUs together"),
    "rows-each": (32, "rows of a step for each GPU, if the batch grows with the GPUs"),
    "row-tokens": (64, "tokens of a row"),
    "train-rows": (1e7, "training rows, one epoch"),
    "dev-rows": (1e5, "dev rows"),
    "predict-rows-total": (1e10, "rows to predict"),
    "files": (10_000, "files of these rows, for the table with many files"),
    "peak": (989e12, "FLOP/s of a GPU; published for H200: dense bf16"),
    "achieved": (0.4, "share of the peak that is achieved; assumed"),
    "memory-bandwidth": (4.8e12, "bytes/s of a GPU's memory; published for H200"),
    "floor-s": (0.015, "least seconds of a step, in which the CPU launches its kernels; assumed"),
    "noise": (0.02, "standard deviation of a step's time, divided by it; assumed"),
    "gpus-per-machine": (8, "GPUs of a machine"),
    "nvlink": (450e9, "bytes/s between GPUs of a machine; published for NVLink 4, one direction"),
    "network": (50e9, "bytes/s between machines for each process; published for 400 Gbit/s"),
    "latency-s": (1e-5, "seconds of a message; assumed"),
    "mtbf-days": (264.0, "days between failures of a machine; Llama 3 report: 419 in 54 days on 2,048 machines"),
    "disk": (1e9, "bytes/s of the disk to which the first process saves; assumed"),
    "restart-s": (120.0, "seconds until a lost run is started again, without reading the data; assumed"),
    "price": (4.0, "price of a GPU for an hour; assumed"),
    "storage": (1e10, "bytes/s that the shared storage delivers to all processes; assumed"),
    "join": (5e8, "bytes/s of mbert join; assumed"),
    "hash": (1e9, "bytes/s of the input's hash; --constants replaces it"),
    "count-s": (2e-7, "seconds to count or skip a row; --constants replaces it"),
    "tokenise-s": (2e-5, "seconds to tokenise a row, in one thread; --constants replaces it"),
    "start-s": (10.0, "seconds to start a process and load the model; --constants replaces it"),
    "input-row": (100.0, "bytes of an input row; --constants replaces it"),
    "output-row": (120.0, "bytes of an output row; --constants replaces it"),
}
"""The constants of machines and work that this program does not measure: the default, and what it is."""


def main():
    """Measure, check and print."""
    options = parser().parse_args()
    constants = json.loads(options.constants.read_text(encoding="utf-8")) if options.constants else None
    if options.measure or options.check:
        constants = measure(options)
        contest.write_json(options.json, constants)
    if options.check:
        print(check_table(constants, options.cores))
        return
    if constants is not None:
        use(options, constants)
    shape = shape_of(options.encoder if options.encoder in PUBLISHED else "bert-base")
    print("\n".join(tables(options, shape, constants)))


def parser():
    """Return the parser of the options."""
    found = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    found.add_argument("--measure", action="store_true", help="measure the constants on this machine")
    found.add_argument("--check", action="store_true", help="measure, and compare the model with 1 to 4 processes")
    found.add_argument("--json", type=Path, metavar="OUT", help="write the measured constants to this file")
    found.add_argument("--constants", type=Path, metavar="FILE", help="use the constants that --json wrote")
    found.add_argument("--encoder", default=None, help=f"{HELP}; default: minilm is measured, bert-base is planned")
    found.add_argument("--precision", choices=("bf16", "fp32"), default="fp32", help="of the measurements")
    found.add_argument("--batch-size", type=contest.positive, default=8, help="measured rows of each task in a step")
    found.add_argument("--steps", type=contest.positive, default=10, help="timed steps")
    found.add_argument("--warm-up", type=contest.positive, default=2, help="steps before these")
    found.add_argument("--data-rows", type=contest.positive, default=2000, help="rows of each file that are read")
    found.add_argument("--predict-rows", type=contest.positive, default=1000, help="rows that are predicted")
    cores = len(os.sched_getaffinity(0))
    found.add_argument("--cores", type=contest.positive, default=cores, help="cores of this machine")
    for name, (default, meaning) in ASSUMED.items():
        found.add_argument(f"--{name}", type=type(default), default=default, help=meaning)
    return found


def measure(options):
    """Return the constants of this machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "weights"
        weights.mkdir()
        options.encoder_folder = checkpoint_folder(options.encoder or "minilm", weights)
        commands = scale_measure.measurements(options, folder, MOST if options.check else 2)
        (results,) = contest.rounds_of(commands, 1, 1, lambda *_: "")
    latest = {name: runs[-1] for name, runs in results.items()}
    failed = [f"{name}: {each['error']}" for name, each in latest.items() if "error" in each]
    if failed:
        raise SystemExit("\n".join(failed))
    return scale_measure.constants_of(latest) | {"batch_size": options.batch_size, "cores": options.cores}


def use(options, constants):
    """Replace assumed constants by measured ones."""
    measured = constants["prediction"]
    options.hash, options.count_s = measured["hash_bytes_per_s"], measured["skip_s"]
    options.tokenise_s, options.start_s = measured["tokenise_s"], constants["start_s"]
    options.input_row, options.output_row = measured["input_row_bytes"], measured["output_row_bytes"]


def check_rows(constants, cores):
    """Return predicted and measured seconds of a step, and the predicted parts, for each number of processes.

    The constants of the computation are those of one process. Those of the exchange are measured without training, with
    the same number of processes. Processes of one thread share the cores.
    """
    step = formulas.Step(
        fixed=constants["fixed_s"],
        per_token=constants["per_token_s"],
        tokens=constants["tokens"],
        rows=constants["rows"],
        packing=constants["packing_s"],
        size=formulas.gradient_bytes(constants["dense"], constants["words"], constants["width"]),
        noise=constants["noise"],
    )
    lengths, rows = constants["lengths"], []
    drawn = draw_steps({task: len(each) for task, each in lengths.items()}, _DRAWS, constants["batch_size"])
    batches = [{task: [lengths[task][row] for row in own] for task, own in each.items()} for each in drawn]
    for count in sorted(map(int, constants["steps_of"])):
        bandwidth, latency = float("inf"), 0.0
        if count > 1:
            times = constants["exchange"][str(count)]
            bandwidth, latency = formulas.ring_constants(
                times["small"], times["large"], constants["exchange_bytes"], count
            )
        slowdown = formulas.sharing(count, cores, constants["contention"])
        parts = step.parts(count, bandwidth, latency, formulas.imbalance(batches, count), slowdown)
        rows.append((count, sum(parts.values()), constants["steps_of"][str(count)], parts))
    return rows


def check_table(constants, cores):
    """Return the table that compares the model with measured steps."""
    lines = []
    for count, predicted, measured, parts in check_rows(constants, cores):
        cells = [str(count), f"{1000 * predicted:,.0f}", f"{1000 * measured:,.0f}", f"{predicted / measured:.2f}"]
        lines.append([*cells, *(f"{1000 * time:,.0f}" for time in parts.values())])
    names = ("computation", "fixed work", "stragglers", "exchange")
    return markdown(
        ["processes", "predicted ms", "measured ms", "ratio", *(f"{name}, ms" for name in names)],
        lines,
        f"A step on {cores} cores, one thread for each process",
    )


def tables(options, shape, constants=None):
    """Return the tables of the plan: the constants, training, and prediction."""
    counts = [int(each) for each in contest.words(options.gpus)]
    shown = [
        [name, f"{value:,.4g}" if isinstance(value := getattr(options, name.replace("-", "_")), float) else str(value)]
        for name in ASSUMED
    ]
    lines = [markdown(["constant", "value"], shown, "Constants")]
    for title, batch in (
        (f"Training, {options.batch_rows} rows a step", lambda count: options.batch_rows),
        (f"Training, {options.rows_each} rows a step for each GPU", lambda count: options.rows_each * count),
    ):
        lines.append(training_table(options, shape, [1, *counts], batch, title))
    gpu = prediction_of(options, shape)
    lines.append(prediction_table(options, gpu, counts, "GPUs", options.price))
    if constants is not None:
        cpu = prediction_of(options, shape, constants["prediction"]["row_s"])
        lines.append(prediction_table(options, cpu, counts, "processes of one thread here", None))
    return lines


def training_table(options, shape, counts, batch, title):
    """Return the table of a training run; `batch` returns the rows of a step for a number of GPUs."""
    lines, single = [], None
    for count in counts:
        seconds, parts = training_time(options, shape, count, batch(count))
        single = single or seconds
        step_names = {name: time for name, time in parts.items() if name != "computation"}
        lines.append(
            [
                str(count),
                f"{batch(count) / count:,.2f}".rstrip("0").rstrip("."),
                f"{single / seconds:,.1f}",
                f"{single / seconds / count:.0%}",
                duration(seconds),
                f"{count * seconds / _HOUR * options.price:,.0f}",
                f"{max(step_names, key=step_names.__getitem__)} ({max(step_names.values()) / seconds:.0%})",
            ]
        )
    columns = ["GPUs", "rows each", "speed-up", "efficiency", "time", "cost", "largest loss"]
    return markdown(columns, lines, title)


def training_time(options, shape, count, rows):
    """Return the time of a training run and its parts.

    A run reads and tokenises all rows in each process, evaluates once, and saves at Young's interval. A step of less
    than one row for each GPU is computed as a step of one row: `deal` repeats rows for processes that have none. All
    words of a step are assumed to differ, so that the exchange is overestimated. Rows are assumed to be equally long.
    """
    tokens = max(rows, count) * options.row_tokens
    dense, all_parameters = parameters_of(shape)
    size = formulas.gradient_bytes(dense, min(shape.vocab_size, rows * options.row_tokens), shape.embedding_width)
    speed = options.peak * options.achieved
    per_token = formulas.flops(limit.step("full", [1 << 14], shape, 1)) / (1 << 14) / speed
    fixed = _ADAMW_VALUES * formulas.FP32 * all_parameters / options.memory_bandwidth
    step = formulas.Step(fixed, per_token, tokens, rows, 0.0, size, options.noise, options.floor_s)
    bandwidth = options.nvlink if count <= options.gpus_per_machine else options.network
    parts = step.parts(count, bandwidth, options.latency_s)
    steps = options.train_rows / rows
    times = {name: time * steps for name, time in parts.items()}
    floored = max(0.0, options.floor_s - per_token * tokens / count) * steps
    times["computation"] -= floored
    times["waiting for kernel launches"] = floored
    times["evaluation"] = options.dev_rows * options.row_tokens / count * per_token / 3
    times["start and tokenisation"] = options.start_s + options.train_rows * options.tokenise_s
    save = 3 * formulas.FP32 * all_parameters / options.disk
    mtbf = options.mtbf_days * 24 * _HOUR / -(-count // options.gpus_per_machine)
    lost = formulas.lost_share(
        save,
        formulas.best_interval(save, mtbf),
        options.restart_s + times["start and tokenisation"],
        mtbf,
    )
    times["failures and saving"] = lost * sum(times.values())
    return sum(times.values()), times


def parameters_of(shape):
    """Return the number of parameters without the word embeddings, and of all parameters."""
    import torch

    from mbert_cli.encoder.packed_encoder import PackedEncoder

    with torch.device("meta"):
        encoder = PackedEncoder(shape)
    count = sum(each.numel() for each in encoder.parameters())
    return count - encoder.word_embeddings.weight.numel(), count


def prediction_of(options, shape, row=None):
    """Return the constants of a prediction.

    Args:
        options: the options of the command line.
        shape: sizes of the encoder on GPUs.
        row: measured time of a row; None for a GPU, which needs a third of a training step's operations, but no less
            time than one thread needs to tokenise the row.
    """
    if row is None:
        operations = formulas.flops(limit.step("full", [1 << 14], shape, 1)) / (1 << 14) / 3 * options.row_tokens
        row = max(options.tokenise_s, operations / (options.peak * options.achieved))
    return formulas.Prediction(
        row=row,
        hash=options.hash,
        count=options.count_s,
        skip=options.count_s,
        start=options.start_s,
        input_row=options.input_row,
        output_row=options.output_row,
        join=options.join,
        storage=options.storage,
    )


def prediction_table(options, prediction, counts, what, price):
    """Return the table of a prediction: parts of one file, and many files."""
    rows, lines = options.predict_rows_total, []
    for count in counts:
        for name, times in (
            ("one file, --shard", prediction.of_parts(rows, count)),
            (f"{options.files:,} files", prediction.of_files(rows, count, options.files)),
        ):
            seconds, loss = sum(times.values()), formulas.largest(times)
            cost = "" if price is None else f"{count * seconds / _HOUR * price:,.0f}"
            efficiency = times["computation"] / seconds
            lines.append(
                [f"{count}", name, duration(seconds), cost, f"{efficiency:.0%}", f"{loss} ({duration(times[loss])})"]
            )
    columns = [what, "input", "time", "cost", "computation", "largest loss"]
    return markdown(columns, lines, f"Prediction of {rows:,.0f} rows, {1e6 * prediction.row:,.0f} us a row")


def duration(seconds):
    """Return a duration with its unit."""
    for unit, size in (("days", 24 * _HOUR), ("h", _HOUR), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def markdown(columns, rows, title):
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
