"""Measures the constants of the throughput model. As a program, this file is the worker of one measurement."""

import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

# The command mbert sets this too, before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import contest
from ours import load, recipe_of, save_untrained, timed_steps
from workload import COLUMNS, course_file, course_steps, report, settings_of_worker

_SIZE = 1 << 25  # bytes of the large all-reduce
_REPEATS = 10


def measurements(options, folder, most):
    """Return the command of each measurement, by name.

    Args:
        options: the options of the command line.
        folder: folder for the files of the measurements.
        most: the largest number of processes.
    """
    data = folder / "data"
    data.mkdir()
    for task in COLUMNS:
        for split in ("train", "dev"):
            source = course_file(task, split)
            with open(source, encoding="utf-8") as file:
                lines = [line for _, line in zip(range(options.data_rows + 1), file, strict=False)]
            (data / source.name).write_text("".join(lines), encoding="utf-8")
    keys = ("steps", "warm_up", "batch_size", "precision")
    common = {"encoder": str(options.encoder_folder), "data": str(data), **{key: getattr(options, key) for key in keys}}
    half = max(1, options.batch_size // 2)
    found = {
        "step": {"procedure": "train", "processes": 1},
        "half step": {"procedure": "train", "processes": 1, "batch_size": half},
        "contention": {"procedure": "train", "processes": options.cores, "alone": True},
        "prediction": {"procedure": "predict", "rows": options.predict_rows, "processes": 1},
        "disk": {"procedure": "disk", "processes": 1, "folder": str(folder)},
    }
    for count in range(2, most + 1):
        found[f"exchange of {count}"] = {"procedure": "exchange", "processes": count}
    for count in range(2, most + 1):
        found[f"step of {count}"] = {"procedure": "train", "processes": count}
    return {name: contest.worker("scale_measure.py", common | each) for name, each in found.items()}


def constants_of(results):
    """Return the constants from the results of all measurements.

    The time of a step grows linearly with its tokens; two batch sizes give the slope and the fixed time.
    """
    step, half = results["step"], results["half step"]
    full_time, half_time = (statistics.median(each["times"]) for each in (step, half))
    per_token = (full_time - half_time) / (step["tokens"] - half["tokens"])
    counts = [int(name.split()[-1]) for name in results if name.startswith("exchange of ")]
    return {
        "step_s": full_time,
        "per_token_s": per_token,
        "fixed_s": max(0.0, full_time - per_token * step["tokens"]),
        **{key: step[key] for key in ("tokens", "rows", "packing_s", "dense", "words", "width", "lengths", "state")},
        "noise": statistics.stdev(step["times"]) / full_time if len(step["times"]) > 1 else 0.0,
        "contention": max(1.0, statistics.median(results["contention"]["times"]) / full_time),
        "start_s": max(0.0, step["wall_s"] - sum(step["times"]) - step["other_s"]),
        "disk_bytes_per_s": results["disk"]["bytes_per_s"],
        "prediction": results["prediction"],
        "exchange": {str(count): results[f"exchange of {count}"]["times"] for count in counts},
        "exchange_bytes": _SIZE,
        "steps_of": {str(count): statistics.median(results[f"step of {count}"]["times"]) for count in counts}
        | {"1": full_time},
    }


def in_processes(settings):
    """Run a procedure in several processes of one thread, which are forks of this one; return the first one's result.

    With `alone`, the processes do not know of each other.
    """
    import torch

    torch.set_num_threads(1)
    count = settings["processes"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=_rank, args=(settings, rank, address)) for rank in range(1, count)]
    for each in others:
        each.start()
    result = _rank(settings, 0, address)
    for each in others:
        each.join()
        assert each.exitcode == 0, "all processes succeed"
    return result


def _rank(settings, rank, address):
    os.environ["MBERT_DATA"] = settings["data"]
    if not settings.get("alone"):
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(settings["processes"]), **address}
    return {"train": train, "exchange": exchange, "predict": predict, "disk": disk}[settings["procedure"]](settings)


def train(settings):
    """Time training steps, as `mbert train` takes them, on the course's tasks."""
    from mbert_cli.machine.process_group import joined

    rows, drawn = course_steps(settings)
    with joined() as processes, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = load(recipe_of("full", settings["encoder"], rank=1), folder)
        run = folder / "run"
        run.mkdir()
        facts = {}

        def steps(sizes):
            assert sizes == {task: len(each) for task, each in rows.items()}, "all processes read the same rows"
            facts["first_step"] = time.perf_counter()
            return drawn

        found = timed_steps(
            recipe,
            run,
            settings["precision"],
            steps,
            settings["warm_up"],
            processes=processes,
            look=lambda trained: facts.update(_facts(trained, drawn)),
        )
        other = time.perf_counter() - facts.pop("first_step") - sum(found.times)
    return {
        "times": found.times,
        "tokens": sum(found.tokens),
        "rows": len(rows) * settings["batch_size"],
        "other_s": other,
        **facts,
    }


def _facts(run, drawn):
    """Return the sizes of a run and of its batches."""
    import numpy as np

    data, model = run.data.train, run.model
    table = model.encoder.word_embeddings.weight
    steps = [{task: np.asarray(rows) for task, rows in step.items()} for step in drawn]
    start, words = time.perf_counter(), []
    for step in steps:
        batch = run.step.pairs.pack(step, 0, "cpu")
        words.append(len(batch.token_ids.unique()))
    packing = (time.perf_counter() - start) / sum(len(rows) for step in steps for rows in step.values())
    weights = sum(each.numel() for each in model.parameters())
    trained = [each.numel() for each in model.parameters() if each.requires_grad and each is not table]
    return {
        "dense": sum(trained),
        "words": statistics.fmean(words),
        "width": table.shape[1],
        "packing_s": packing,
        "state": 4 * 3 * weights,  # weights and two moments of AdamW
        "lengths": {task: each.lengths[:1000].tolist() for task, each in data.items()},
    }


def exchange(_):
    """Time an empty all-reduce and a large one."""
    import torch

    from mbert_cli.machine.process_group import joined

    times = {}
    with joined() as processes:
        for name, size in {"small": 4, "large": _SIZE}.items():
            tensor, each = torch.zeros(size // 4), []
            for _ in range(_REPEATS):
                processes.wait()
                start = time.perf_counter()
                processes.add(tensor)
                each.append(time.perf_counter() - start)
            times[name] = statistics.median(each[2:])
    return {"times": times}


def predict(settings):
    """Time the parts of `mbert predict` on pairs of sentences."""
    from mbert_cli.data.table import Table
    from mbert_cli.prediction.output_formats import TextTable
    from mbert_cli.prediction.predict_table import predict_table
    from mbert_cli.prediction.predictor import Predictor
    from mbert_cli.storage.atomic import sha256_of

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, source, output = folder / "run", folder / "in.tsv", folder / "out.tsv"
        run.mkdir()
        save_untrained(load(recipe_of("full", settings["encoder"], rank=1), folder), run)
        count = _write_pairs(source, settings["rows"])
        long = folder / "long.tsv"
        copies = _repeat(source, long, times=50)
        hashed = _time(lambda: sha256_of(long))
        with Table(str(long)) as table:
            skipped = _time(lambda: table.skip(2**62))
        start = time.perf_counter()
        predictor = Predictor(str(run), device="cpu", precision=settings["precision"])
        loaded = time.perf_counter() - start
        with Table(str(source)) as table, open(output, "w", encoding="utf-8", newline="\n") as out:
            writer = TextTable("-").writer(out, predictor, table, ["quora"])
            work = _time(lambda: all(done >= 0 for done in predict_table(predictor, table, ["quora"], writer)))
        texts = [list(texts) for texts in zip(*_pairs(count), strict=True)]
        tokenised = _time(lambda: predictor.tokenise(texts, "quora"))
        written = len(output.read_text(encoding="utf-8").splitlines()) - 1
        assert written == count, "every row is written"
        return {
            "rows": count,
            "row_s": work / count,
            "tokenise_s": tokenised / count,
            "hash_bytes_per_s": long.stat().st_size / hashed,
            "skip_s": skipped / copies,
            "load_s": loaded,
            "input_row_bytes": source.stat().st_size / count,
            "output_row_bytes": output.stat().st_size / count,
            "measuring_s": time.perf_counter() - begin,
        }


def _pairs(count):
    from workload import read_rows

    rows = read_rows("quora", "train")
    return [rows[number % len(rows)][:2] for number in range(count)]


def _write_pairs(path, count):
    lines = ["sentence1\tsentence2", *("\t".join(pair) for pair in _pairs(count))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return count


def _repeat(source, path, times):
    """Write a file with the rows of another one several times; return the number of rows."""
    header, *rows = source.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(header + "".join(rows) * times, encoding="utf-8")
    return len(rows) * times


def disk(settings):
    """Time to write a file until it is on the disk."""

    def write():
        with tempfile.TemporaryFile(dir=settings["folder"]) as file:
            file.write(bytes(_SIZE))
            file.flush()
            os.fsync(file.fileno())

    return {"bytes_per_s": _SIZE / statistics.median(_time(write) for _ in range(3))}


def _time(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    report(in_processes(settings_of_worker()))
    sys.exit()
