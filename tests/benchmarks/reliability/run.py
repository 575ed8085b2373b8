"""Runs the reliability experiments with their full number of trials. An interrupted run continues.

    python tests/benchmarks/reliability/run.py --json results.json            # all of them
    python tests/benchmarks/reliability/run.py killed_training --trials 20
    python tests/benchmarks/reliability/run.py --list --json results.json     # print the results as in the guide

Each trial is a function of the seed and its number. Both are printed with a failure; `--only` repeats that trial.
"""

import argparse
import importlib
import json
import re
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from experiment import Chance, Experiment


def all_experiments() -> dict[str, Experiment]:
    """Return the experiments of all modules by the name of their variable, in the order of their numbers."""
    found: dict[str, Experiment] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in ("run", "experiment"):
            module = importlib.import_module(path.stem)
            found |= {name: each for name, each in vars(module).items() if isinstance(each, Experiment)}
    return dict(sorted(found.items(), key=lambda item: item[1].number))


def run_trial(experiment: Experiment, name: str, seed: int, index: int, shared: Path) -> tuple[str, str]:
    """Run one trial. Return the traceback of a failure, or "", and the measurement, or ""."""
    folder = Path(tempfile.mkdtemp(dir=shared))
    try:
        return "", experiment.trial(Chance(name, seed, index), folder) or ""
    except Exception:
        return traceback.format_exc(limit=-3), ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--trials", type=int, help="number of trials; default: that of each experiment")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run only this trial, and record nothing")
    parser.add_argument(
        "--json", type=Path, default=Path("results.json"), help="file of results; an interrupted run continues from it"
    )
    parser.add_argument("--list", action="store_true", help="print the results, and run nothing")
    options = parser.parse_args()
    experiments = all_experiments()
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    if options.list:
        print_results(experiments, results)
        return
    with tempfile.TemporaryDirectory(prefix="reliability-") as shared:
        for name in options.names or experiments:
            experiment = experiments[name]
            print(f"{experiment.number}. {name}, seed {options.seed}: {experiment.promise}", flush=True)
            if options.only is not None:
                print(*run_trial(experiment, name, options.seed, options.only, Path(shared)))
                continue
            done = results.get(name, {})
            if done.get("seed") != options.seed:
                done = {"number": experiment.number, "seed": options.seed, "kept": 0, "broken": {}, "seconds": 0.0}
            trials = options.trials or experiment.trials
            for index in range(done["kept"] + len(done["broken"]), trials):
                started = time.monotonic()
                broken, measured = run_trial(experiment, name, options.seed, index, Path(shared))
                done["seconds"] = round(done["seconds"] + time.monotonic() - started, 2)
                if measured:
                    done.setdefault("measured", []).append(measured)
                if not broken:
                    done["kept"] += 1
                else:
                    done["broken"][str(index)] = broken
                    print(f"trial {index} of seed {options.seed}: {broken}", flush=True)
                results[name] = done
                if index % 50 == 49 or index == trials - 1 or experiment.trials <= 500:
                    write(options.json, results)
            print(f"   {done['kept']}/{done['kept'] + len(done['broken'])} in {done['seconds']:.0f} s", flush=True)


def print_results(experiments: dict[str, Experiment], results: dict[str, Any]) -> None:
    """Print the results as a Markdown list."""
    for name, experiment in experiments.items():
        if name in results:
            result = results[name]
            total = result["kept"] + len(result["broken"])
            worst = max(result.get("measured", [""]), key=_first_number)
            measured = f" Measured: {worst}." if worst else ""
            print(f"- {item(experiment)} Passed: {result['kept']:,} of {total:,}.{measured}")


def item(experiment: Experiment) -> str:
    """Return the beginning of an experiment's item in the guide."""
    return f"**{experiment.number}** {experiment.promise}."


def write(path: Path, results: dict[str, object]) -> None:
    """Write the results to a temporary file and rename it, so that a killed run does not damage them."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(results, indent=1) + "\n")
    new.replace(path)


def _first_number(text: str) -> float:
    found = re.search(r"\d[\d.]*(e-?\d+)?", text)
    return float(found[0]) if found else 0.0


if __name__ == "__main__":
    main()
