"""Crashes of a training run, and the files that tests compare after them."""

import itertools
import json
import os
import sys
from contextlib import contextmanager

import pytest

from mbert_cli.storage import commit_epoch
from mbert_cli.training import saver


@contextmanager
def dying_after(epoch, step=0):
    """Stop a training run in the block as soon as it has saved the state `step` steps after `epoch`."""
    commit = commit_epoch.commit_state

    def die(run, epoch_now, step_now, *rest):
        commit(run, epoch_now, step_now, *rest)
        if (epoch_now, step_now) == (epoch, step):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        for module in (commit_epoch, saver):
            patch.setattr(module, "commit_state", die)
        with pytest.raises(KeyboardInterrupt):
            yield


def contents(folder):
    """Return the contents of all files of a run, without the seconds of its epochs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    for name in list(found):
        if "-step-" in name and name.endswith("/state.json"):
            found[name] = json.loads(found[name])
            assert found[name]["position"].pop("seconds") or not found[name]["position"]["round_steps"]
            found.pop(name.replace("state.json", "manifest.json"), None)
    if "metrics.jsonl" in found:
        lines = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
        assert all(line.pop("seconds") for line in lines)
        found["metrics.jsonl"] = lines
    return found


_CHANGES = {
    "os.chmod",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",  # also Path.replace
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Crash(BaseException):
    """Represents the death of the process."""


class _Changes:
    """Counts the changes that a block makes to the disk, and crashes before one of them.

    Python reports every such call of the standard library as an audit event, so that new calls are counted, too. Only
    fsync has no event.
    """

    count: int | None = None  # None outside a block
    crash_at = 0

    def event(self, name, arguments):
        if self.count is None:
            return
        if name in _CHANGES or name == "os.fsync" or (name == "open" and arguments[2] & _WRITING):
            self.change()

    def change(self):
        self.count += 1
        if self.count > self.crash_at:
            self.count = None  # code that cleans up after the crash runs to its end
            raise Crash


_changes = _Changes()
sys.addaudithook(_changes.event)


def crashes(folder, prepare, act):
    """Yield the folder of a process that died in `act`, for each of its changes to the disk: it dies before that one.

    Args:
        folder: an empty folder for all of them.
        prepare: makes what `act` changes, in the folder that it is given.
        act: what dies, in the folder that it is given.
    """
    real = os.fsync

    def fsync(descriptor):
        _changes.event("os.fsync", ())
        real(descriptor)

    for number in itertools.count():
        here = folder / str(number)
        here.mkdir()
        prepare(here)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            _changes.count, _changes.crash_at = 0, number
            try:
                act(here)
            except Crash:
                crashed = True
            else:
                crashed = False
            finally:
                _changes.count = None
        if not crashed:
            assert number, "act changes nothing"
            return
        yield here
