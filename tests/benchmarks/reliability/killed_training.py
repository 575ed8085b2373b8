"""Trainings that are killed or stopped by a signal, and then resumed."""

import random
import signal
import time
from pathlib import Path

from crashes import contents
from experiment import Experiment, check
from processes import HARDWARE, any_settings, finish, kill, recipe_of, start, train_here, wait_until

# The tiny recipe under any curriculum takes at least this many steps in each of its two epochs.
_STEPS = 3


def check_same(whole: Path, resumed: Path) -> None:
    """Check that two run folders have the same contents, except for the times."""
    expected, found = contents(whole), contents(resumed)
    different = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
    check(not different, f"differ from the uninterrupted run: {different}")


def _kill_somewhere(rng: random.Random, run: Path, words: list[str], epoch: int | None = None) -> None:
    """Start a training run and kill it at a random point: half of the times during the save after a random step."""
    process = start(*words)
    at = f"epoch-{rng.randrange(2) if epoch is None else epoch:04d}-step-{rng.randint(1, _STEPS):08d}"
    in_a_save = rng.random() < 0.5
    new, whole = run / "state" / f".{at}.mbert-new", run / "state" / at
    if wait_until(lambda: whole.exists() or (in_a_save and new.exists()), process):
        time.sleep(rng.random() * (0.004 if in_a_save else 0.04))
        kill(process)
    else:
        finish(process)


def _kill_and_resume(rng: random.Random, folder: Path, kills: int, epoch: int | None = None) -> None:
    recipe, run = recipe_of(folder), folder / "resumed"
    settings = [*any_settings(rng), "training.state_every=1"]
    train_here(recipe, folder / "whole", settings)
    words = ["train", recipe, *settings, *HARDWARE, "-q", "-o", run]
    for _ in range(kills):
        _kill_somewhere(rng, run, [*words, *(["--resume"] if (run / "recipe.yaml").exists() else [])], epoch)
    finish(start(*words, *(["--resume"] if (run / "recipe.yaml").exists() else [])))
    check_same(folder / "whole", folder / "resumed")


def _killed_once(rng: random.Random, folder: Path) -> None:
    _kill_and_resume(rng, folder, 1)


def _killed_five_times(rng: random.Random, folder: Path) -> None:
    _kill_and_resume(rng, folder, 5, epoch=0)


def _signalled(rng: random.Random, folder: Path) -> str:
    recipe, run = recipe_of(folder), folder / "resumed"
    # Only the signal and the ends of epochs save a state.
    settings = [*any_settings(rng), "training.state_every=null", "training.epochs=8", "training.keep=1"]
    train_here(recipe, folder / "whole", settings)
    words = ["train", recipe, *settings, *HARDWARE, "-o", run]
    number = rng.choice([signal.SIGINT, signal.SIGTERM])
    process = start(*words)
    wait_until((run / "recipe.yaml").exists, process)
    time.sleep(rng.random())
    asked = time.monotonic()
    process.send_signal(number)
    messages = finish(process, 128 + number)
    took = time.monotonic() - asked
    if (run / "state").exists():
        check("--resume" in messages.splitlines()[-1], messages)
    finish(start(*words, "--resume"))
    check_same(folder / "whole", folder / "resumed")
    return f"at most {took:.1f} s from the signal to the exit"


killed_training = Experiment(
    1,
    "SIGKILL at a random point of a training run, half of the times during a save; the resumed run is byte-for-byte "
    "identical",
    200,
    1,
    _killed_once,
)
killed_five_times = Experiment(
    2, "five SIGKILLs within one epoch; the resumed run is byte-for-byte identical", 50, 2, _killed_five_times
)
signalled_training = Experiment(
    3,
    "SIGINT or SIGTERM at a random point: exit code 130 or 143, progress is saved, the resumed run is byte-for-byte "
    "identical",
    50,
    1,
    _signalled,
)
