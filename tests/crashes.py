"""Deaths of a training, and what is compared after them."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from mbert_cli.storage import atomic as commits
from mbert_cli.storage.run_folder import RunFolder


@contextmanager
def dying_after(epoch, step=0):
    """Within the block a training dies as soon as it has saved the state of `step` steps after `epoch`."""
    commit = RunFolder.commit_state

    def die(self, epoch_now, step_now, *rest):
        commit(self, epoch_now, step_now, *rest)
        if (epoch_now, step_now) == (epoch, step):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "commit_state", die)
        with pytest.raises(KeyboardInterrupt):
            yield


def contents(folder):
    """Return all files of a run, less the seconds its epochs took."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    for name in list(found):
        if "-step-" in name and name.endswith("/state.json"):
            found[name] = json.loads(found[name])
            assert found[name]["position"].pop("seconds")
            found.pop(name.replace("state.json", "manifest.json"), None)
    if "metrics.jsonl" in found:
        lines = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
        assert all(line.pop("seconds") for line in lines)
        found["metrics.jsonl"] = lines
    return found


CALLS = [(os, "fsync"), (Path, "rename"), (Path, "mkdir"), (Path, "write_text"), (commits.shutil, "rmtree")]
AMENDING = [*CALLS, (Path, "replace"), (Path, "unlink")]


class Crash(BaseException):
    """Stands for a process that dies here."""


def crash(patch, crash_at: int, functions) -> list[str]:
    """Let one call of these functions raise, the `crash_at`-th of them all, from 0; return the list of those made."""
    made = []

    def counting(real):
        def call(*args, **kwargs):
            made.append(real.__name__)
            if len(made) == crash_at + 1:
                raise Crash
            return real(*args, **kwargs)

        return call

    for owner, name in functions:
        patch.setattr(owner, name, counting(getattr(owner, name)))
    return made
