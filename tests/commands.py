"""Runs commands in processes that are forked with PyTorch imported, which takes most of the time of a command."""

import fcntl
import importlib
import multiprocessing
import os
import pty
import re
import resource
import runpy
import select
import signal
import struct
import sys
import termios
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired
from tempfile import TemporaryDirectory

_processes = multiprocessing.get_context("forkserver")
# Without mbert, so that each command does its own imports. These modules start no threads, which a fork would lose.
_processes.set_forkserver_preload(["torch._dynamo", "transformers", "sklearn.metrics", "matplotlib.pyplot", "numba"])


def mbert(*words, cwd, stdin="", broken=(), **environment):
    """Run `mbert WORDS` in a folder, 100 columns wide; return the exit code and the output.

    Args:
        broken: faults of streams by their numbers: `closed`, `full` (a full disk), `gone` (the reader has exited), or
            `limited` (no file of the process can be larger than 4 KiB).
    """
    return _run_process(_mbert, words, cwd, stdin, {"COLUMNS": "100", **environment}, dict(broken))


def program(path, *words, cwd, **environment):
    """Run a Python program in a folder, like `python PATH WORDS`; return the exit code and the output."""
    return _run_process(_program, (path, *words), cwd, "", environment, {})


class Started:
    """A command that `start` has started, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(self, words, cwd, environment, patches):
        self._folder = TemporaryDirectory()
        self._words = words
        self._started = _started(
            partial(_patched_mbert, dict(patches)), words, cwd, "", environment, {}, Path(self._folder.name)
        )
        self._process = self._started[0]
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout=None):
        """Wait until the process ends; return what it printed to standard output and standard error."""
        self._process.join(timeout)
        if self.poll() is None:
            raise TimeoutExpired(self._words, timeout)
        ended = _ended(self._words, self._started)
        self._folder.cleanup()
        return ended.stdout, ended.stderr


def start(*words, cwd=".", patches=(), **environment):
    """Start `mbert WORDS` in a folder, 100 columns wide; return the running process, to which tests can send signals.

    These processes share one hash seed. A test that needs another hash seed must start a new Python.

    Args:
        patches: values of attributes of modules, by their full names.
    """
    return Started(words, cwd, {"COLUMNS": "100", **environment}, patches)


_NEXT = "\f"  # separates the screens of a terminal


def mbert_on_terminals(*words, cwd, widths):
    """Run `mbert WORDS` on terminals of several widths; return the screen of each, without colours."""
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    screen, terminal = pty.openpty()
    main, files = partial(_mbert_on_terminals, widths), [os.ttyname(terminal)] * 3
    process = _processes.Process(target=_run, args=(main, [*map(str, words)], str(cwd), files, environment, {}))
    process.start()
    shown, ended = b"", False
    while not ended:
        ended = not process.is_alive()
        while select.select([screen], [], [], 0 if ended else 0.05)[0]:
            shown += os.read(screen, 1 << 16)
    process.join()
    os.close(terminal)
    os.close(screen)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")
    assert process.exitcode == 0, text
    return dict(zip(widths, text.split(_NEXT), strict=True))


def mbert_in_ranks(count, *words, cwd, patches=(), **environment):
    """Run `mbert WORDS` in several processes, as torchrun starts them; return the exit code and the output of each.

    Args:
        patches: values of attributes of modules, by their full names.
    """
    from torch.distributed import TCPStore

    # As with torchrun, the store belongs to none of the processes: one that ends does not disconnect the others.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    own = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    main = partial(_patched_mbert, dict(patches))
    with TemporaryDirectory() as folder:
        started = []
        for rank in range(count):
            at = Path(folder, str(rank))
            at.mkdir()
            ranked = {
                "COLUMNS": "100",
                **own,
                "WORLD_SIZE": str(count),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                **environment,
            }
            started.append(_started(main, words, cwd, "", ranked, {}, at))
        return [_ended(words, each) for each in started]


def _patched_mbert(patches, words):
    for name, value in patches.items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    _mbert(words)


def _run_process(main, words, cwd, stdin, environment, broken):
    with TemporaryDirectory() as folder:
        return _ended(words, _started(main, words, cwd, stdin, environment, broken, Path(folder)))


def _started(main, words, cwd, stdin, environment, broken, folder):
    """Start a process; return it and the files of its streams."""
    files = [folder / name for name in ("stdin", "stdout", "stderr")]
    for file, text in zip(files, (stdin, "", ""), strict=True):
        file.write_text(text, encoding="utf-8")
    environment = {**os.environ, **environment}
    process = _processes.Process(target=_run, args=(main, [*map(str, words)], str(cwd), files, environment, broken))
    process.start()
    return process, files


def _ended(words, started):
    process, files = started
    process.join()
    return CompletedProcess(words, process.exitcode, *(file.read_text(encoding="utf-8") for file in files[1:]))


def _run(main, words, cwd, files, environment, broken):
    for number, file in enumerate(files):
        _redirect(os.open(file, os.O_RDWR), number)
    # Not closed, so that the process can print while it exits.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    for number, fault in broken.items():
        _break(number, fault)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    main(words)


def _mbert(words):
    sys.argv = ["mbert", *words]
    from mbert_cli.cli import main

    main()


def _mbert_on_terminals(widths, words):
    for number, width in enumerate(widths):
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        print(_NEXT if number else "", end="", flush=True)
        try:
            _mbert(words)
        except SystemExit as end:
            if end.code:
                raise


def _program(words):
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")


def _redirect(file, number):
    os.dup2(file, number)
    os.close(file)


def _break(number, fault):
    if fault == "full":
        _redirect(os.open("/dev/full", os.O_WRONLY), number)
    elif fault == "gone":
        reader, writer = os.pipe()
        os.close(reader)
        _redirect(writer, number)
    elif fault == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    else:
        assert fault == "closed"
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)  # as in a Python that starts with a closed stream
