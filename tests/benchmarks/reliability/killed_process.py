"""Trainings in several processes of which one is killed, and which are then resumed."""

import random
import time
from pathlib import Path

from experiment import Chance, Experiment, check, once
from killed_training import check_same
from processes import HARDWARE, any_settings, finish, kill_id, recipe_of, start, wait_until
from ranks import ranks_of

_KINDS = 6  # trials differ in the number of processes and in the settings; those of one kind share the whole run
_STEPS = 3


def _killed(chance: Chance, folder: Path) -> str:
    kind = chance.index // 2 % _KINDS
    count, rng = 2 + kind % 3, random.Random(kind)
    words = ["train", recipe_of(folder), *any_settings(rng), "training.epochs=4", "training.state_every=1", *HARDWARE]
    words += ["-q", "--devices", count, "-o"]
    whole = once(folder, f"whole-{kind}", lambda new: finish(start(*words, new)) and None)
    run = folder / "resumed"
    process = start(*words, run)
    if chance.random() < 0.3:
        moment = time.monotonic() + 1 + 4 * chance.random()  # often before the first step
        alive = wait_until(lambda: time.monotonic() > moment and len(ranks_of(process.pid)) == count, process)
    else:
        at = run / "state" / f"epoch-{chance.randrange(3):04d}-step-{chance.randint(1, _STEPS):08d}"
        alive = wait_until(at.exists, process)
        time.sleep(chance.random() * 0.03)
    ranks = ranks_of(process.pid) if alive else {}
    took = 0.0
    if len(ranks) == count:
        rank = chance.randrange(count)
        kill_id(ranks[rank])
        killed = time.monotonic()
        messages = finish(process, 6)
        took = time.monotonic() - killed
        check(took < 30, f"the command ended after {took:.0f} s")
        check(f"process {rank} was killed by SIGKILL" in messages, messages)
        check(not any(Path(f"/proc/{each}").exists() for each in ranks.values()), "a process is left")
    else:
        finish(process)  # it ended before it could be killed
    finish(start(*words, run, *(["--resume"] if (run / "recipe.yaml").exists() else [])))
    check_same(whole, run)
    return f"at most {took:.1f} s from the signal to the exit"


killed_process = Experiment(
    16,
    "SIGKILL of any of two to four processes that train together, at a random point: all end within 30 s, exit code 6, "
    "the message names the process, the resumed run is byte-for-byte identical",
    50,
    1,
    _killed,
)
