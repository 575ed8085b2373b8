"""Two runs that are started in one folder at the same time."""

import time
from pathlib import Path

from experiment import Chance, Experiment, check
from processes import HARDWARE, recipe_of, start


def _two_at_once(chance: Chance, folder: Path) -> str:
    words = ("train", recipe_of(folder), *HARDWARE, "-o", folder / "run", "--seed")
    started = time.monotonic()
    both = [start(*words, str(seed)) for seed in (1, 2)]
    while all(process.poll() is None for process in both):
        time.sleep(0.01)
    took = time.monotonic() - started
    output = [process.communicate()[1] for process in both]
    codes = sorted(process.returncode for process in both)
    check(codes == [0, 3], f"exit codes {codes}: {output}")
    seed = 1 + [process.returncode for process in both].index(0)
    check(f"seed: {seed}\n" in (folder / "run" / "recipe.yaml").read_text(), "the rejected run changed the recipe")
    return f"at most {took:.2f} s from both starts to the exit"


two_runs_in_one_folder = Experiment(
    15,
    "two runs started in one folder: one continues, the other exits with code 3 and changes nothing",
    50,
    1,
    _two_at_once,
)
