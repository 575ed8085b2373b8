"""Compares contenders: each runs in a process of its own, one after the other, in several rounds."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from workload import result_in

HERE = Path(__file__).parent
_TIMEOUT = 3600  # seconds for one contender
_console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
_messages = Console(stderr=True, highlight=False, soft_wrap=True)


def words(text):
    """Parse a list that is separated by commas; `none` is the empty list."""
    return [] if text == "none" else [word for word in text.split(",") if word]


def positive(text):
    """Parse a number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {text}")
    return int(text)


def parser(description, rounds):
    """Return a parser with the options of all benchmarks."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    found.add_argument("--rounds", type=positive, default=rounds, help="number of runs of each contender")
    found.add_argument(
        "--threads", type=positive, default=len(os.sched_getaffinity(0)), help="threads of each contender"
    )
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device of all contenders")
    found.add_argument("--json", type=Path, metavar="OUT", help="write rows and ratios to this file as well")
    return found


def add_peer_options(found, peers):
    """Add the options that choose the peers and their environments."""
    found.add_argument("--peers", type=words, default=",".join(peers), help="names separated by commas, or none")
    found.add_argument(
        "--peer-python",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="the Python of a peer (hf_bf16) or of all peers with this prefix (hf); default: this Python",
    )


def check_names(asked, known, option):
    """Exit if a contender is unknown."""
    wrong = [name for name in asked if name not in known]
    if wrong:
        sys.exit(f"{option}: '{wrong[0]}' is not known. Known: {', '.join(known)}.")


def peer_python(name, given):
    """Return the Python for a peer: that of the longest given prefix of its name, or this Python."""
    pythons = dict(each.split("=", 1) for each in given)
    fitting = [prefix for prefix in pythons if name == prefix or name.startswith(f"{prefix}_")]
    return pythons[max(fitting, key=len)] if fitting else sys.executable


def worker(script, settings, python=sys.executable):
    """Return the command of a contender's worker."""
    return [python, str(HERE / script), json.dumps(settings)]


def rounds_of(contenders, rounds, threads, problem_of):
    """Run all contenders once a round: A B C A B C. After each round, yield all results so far.

    A contender that did not do its work counts as failed.

    Args:
        contenders: the command of each contender, by name.
        rounds: number of rounds.
        threads: number of threads of each contender.
        problem_of: returns which work is missing in a result, from a name and the result; "" if nothing is missing.

    Yields:
        The results of each contender, one per round: the result of its worker and `wall_s`, its seconds from start to
        end; or `error`, the last line of its output.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "RAYON_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }
    results = defaultdict(list)
    for number in range(1, rounds + 1):
        for name, command in contenders.items():
            result = _run(command, environment)
            problem = "" if "error" in result else problem_of(name, result)
            result = {"error": problem} if problem else result
            results[name].append(result)
            outcome = f"failed: {result['error']}" if "error" in result else f"{result['wall_s']:.1f} s"
            _messages.print(f"round {number}/{rounds}: {name}: {outcome}", markup=False)
        yield results


def _run(command, environment):
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    result = result_in(done.stdout)
    if done.returncode or result is None:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        return {"error": lines[-1] if lines else f"ended with exit code {done.returncode}"}
    return {**result, "wall_s": time.perf_counter() - start}


def undone(result, expected):
    """Return how the work of a contender differs from the expected work, or "" if it does not.

    Args:
        result: result of the contender; its `work` has the counts.
        expected: expected counts, by name.
    """
    wrong = [f"{result['work'][what]:,} {what} of {count:,}" for what, count in expected.items()]
    return f"did other work: {', '.join(wrong)}" if result["work"] != expected else ""


def good(runs):
    """Return the results that are not errors."""
    return [run for run in runs if "error" not in run]


def ratios_of(results, ours, peers, value):
    """Return how many times as fast each of mbert's contenders was as each peer, for every round.

    Args:
        results: what `rounds_of` yields.
        ours: names of mbert's contenders.
        peers: names of the peers.
        value: returns the time of a result.
    """
    found = {}
    for own in ours:
        for peer in peers:
            pairs = zip(results[own], results[peer], strict=True)
            each = [value(b) / value(a) for a, b in pairs if "error" not in a and "error" not in b]
            if each:
                found[f"{own}/{peer}"] = each
    return found


def rivals_of(own, ratios):
    """Return the peers with the same precision as one of mbert's contenders. They may train other parameters."""
    pairs = [name.split("/") for name in ratios]
    return [peer for name, peer in pairs if name == own and _precision(name) == _precision(peer)]


def against_best(own, rows, ratios, time_of):
    """Return a table cell with the median ratio to the fastest peer of the same precision, and the peer's name.

    Args:
        own: name of one of mbert's contenders.
        rows: the rows by name.
        ratios: what `ratios_of` returned.
        time_of: returns the time of a row.
    """
    rivals = rivals_of(own, ratios)
    if not rivals:
        return ""
    best = min(rivals, key=lambda peer: time_of(rows[peer]))
    return f"{statistics.median(ratios[f'{own}/{best}']):.2f} ({best})"


def _precision(name):
    return next((each for each in ("bf16", "int8") if each in name), "fp32")


def table(title, *columns):
    """Return an empty table with a column of names followed by columns of numbers."""
    found = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        found.add_column(column, justify="right" if index else "left", max_width=None if index else 48)
    return found


def add_failure(shown, row):
    """Add the row of a failed contender, with its last line of output."""
    shown.add_row(f"{row['name']}\nfailed: {escape(row['error'])}")


def ratio_table(ratios):
    """Return a table of the ratios of equal precision, with one column per round."""
    rounds = max((len(each) for each in ratios.values()), default=0)
    found = table("times faster", "ours / peer", "median", *(f"round {number + 1}" for number in range(rounds)))
    for name, each in ratios.items():
        own, peer = name.split("/")
        if peer not in rivals_of(own, ratios):
            continue
        found.add_row(name, f"{statistics.median(each):.2f}", *(f"{ratio:.2f}" for ratio in each))
    return found


def show(*tables):
    """Print tables."""
    for each in tables:
        if each.row_count:
            _console.print(each)


def write_json(path, content):
    """Write the results if a path is given."""
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def facts(arguments):
    """Return the machine, the versions and the options, on which the figures depend."""
    import torch

    gpu = {"gpu": torch.cuda.get_device_name()} if arguments.device == "cuda" else {}
    return {
        "machine": platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "torch": torch.__version__,
        **gpu,
        **{key: value for key, value in vars(arguments).items() if key != "json"},
    }
