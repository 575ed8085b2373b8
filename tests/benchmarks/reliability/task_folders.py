"""Commands that add, copy, rename and remove tasks, in processes that die before one of their changes of the disk.

    python task_folders.py CALL WORD...

runs `mbert WORD...`, and dies before its CALL-th change of the disk. If CALL is a multiple of three, the file that is
being written is left half written.
"""

import json
import os
import random
import shutil
import sys
from pathlib import Path

import commands
from experiment import Chance, Experiment, check, once
from interrupted_saves import leave_half, watched
from processes import HARDWARE, recipe_of

from mbert_cli.cli import app
from mbert_cli.storage.atomic import committed, hashes_in
from mbert_cli.storage.model_folder import model_folder
from mbert_cli.storage.run_folder import RunFolder

_DIED = 9
_ADD = ("add-task", "run", "new.yaml", "-o", "more", "training.epochs=1", *HARDWARE)
# For each command the folder that it writes, and the number of its changes of the disk.
_COMMANDS: list[tuple[tuple[str, ...], str, int]] = [
    (("tasks", "import", "run", "task", "-o", "new"), "new", 41),
    (("tasks", "import", "run", "task", "-o", "other", "-F"), "other", 54),
    (("tasks", "rename", "run", "mood", "tone"), "run/model", 52),
    (("tasks", "remove", "run", "near"), "run/model", 48),
    (("tasks", "export", "run", "near", "-o", "task", "-F"), "task", 19),
    (_ADD, "more/model", 88),
]
_TRIALS = [(command, call) for command, (_, _, calls) in enumerate(_COMMANDS) for call in range(1, calls + 1)]
random.Random(0).shuffle(_TRIALS)
_NEVER = 1_000_000_000


def _make(folder: Path) -> None:
    """Make what the commands read: a run, a task folder, another model, and a recipe with a new task."""
    recipe = recipe_of(folder)
    folder.mkdir()
    _mbert("train", recipe, "-o", folder / "run", "training.epochs=1", "curriculum=simultaneous", *HARDWARE)
    _mbert("tasks", "rename", folder / "run", "mood", "tone", "-o", folder / "renamed")
    _mbert("tasks", "export", folder / "renamed", "tone", "-o", folder / "task")
    _mbert("tasks", "remove", folder / "run", "same", "-o", folder / "other")
    shutil.rmtree(folder / "renamed")
    values = json.loads(recipe.read_text(encoding="utf-8"))
    task = values["tasks"]["mood"]
    task |= {split: str((recipe.parent / task[split]).resolve()) for split in ("train", "dev")}
    text = json.dumps({**values, "tasks": {"tone": task}})
    (folder / "new.yaml").write_text(text, encoding="utf-8")


def _mbert(*words: str | Path) -> None:
    app([*map(str, words), "-q"], standalone_mode=False)


def _tensors(folder: Path) -> dict[str, str] | None:
    """Return the SHA-256 of the tensors in a folder, which must be whole; None if there is no folder."""
    place = committed(folder)
    if place is None:
        return None
    return {name: sha256 for name, sha256 in hashes_in(model_folder(place)).items() if name.endswith(".safetensors")}


def _run(at: Path, call: int, *words: str) -> str:
    done = commands.program(__file__, str(call), *words, "-q", cwd=at)
    check(done.returncode in (0, _DIED), f"exit code {done.returncode}: {done.stderr}")
    return done.stderr


def _killed(chance: Chance, folder: Path) -> None:
    command, call = _TRIALS[chance.index]
    words, target, _ = _COMMANDS[command]
    prepared, at = once(folder, "tasks", _make), folder / "at"

    def run_whole(new: Path) -> None:
        shutil.copytree(prepared, new)
        _run(new, _NEVER, *words)

    whole = once(folder, f"whole-{command}", run_whole)
    shutil.copytree(prepared, at)
    of_run, old, new = _tensors(at / "run" / "model"), _tensors(at / target), _tensors(whole / target)
    check(new is not None and new != old, "the command writes nothing")
    _run(at, call, *words)
    result = _tensors(at / target)
    check(result in (old, new), f"neither the old folder nor the new one: {result}")
    if target != "run/model":
        check(_tensors(at / "run" / "model") == of_run, "the run has changed")
    if result == old:
        resume = ["--resume"] * (words is _ADD and RunFolder(at / "more").holds_a_run())
        _run(at, _NEVER, *words, *resume)
        check(_tensors(at / target) == new, "the repeated command writes another folder")


killed_task_commands = Experiment(
    25,
    "add-task, and import, export, rename and remove of tasks die before one of their writes, fsyncs, renames or "
    "removals: the old or the new model is whole, the other tasks keep their bytes, and the command can be repeated",
    len(_TRIALS),
    1,
    _killed,
)


def _die(made: int, name: str, arguments: tuple[object, ...]) -> None:
    if made == int(sys.argv[1]):
        if made % 3 == 0:
            leave_half(name, arguments)
        os._exit(_DIED)


if __name__ == "__main__":
    with watched(_die):
        app(sys.argv[2:], standalone_mode=False)
