import signal
import subprocess
import sys

import pytest

from mbert_cli.errors import Stopped
from mbert_cli.machine.process_pool import ProcessPool

# Prints a line once it handles SIGTERM and SIGINT, and ends with exit code 7 if it receives one.
SAVING = """
import os, signal, time

def handle(number, frame):
    os.write(1, b"%d\\n" % number)  # not print: a signal may arrive while print writes "ready"
    os._exit(7)

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, handle)
os.write(1, b"ready\\n")
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def signals_of_this_process(monkeypatch):
    """Keep the tests' process able to receive signals."""
    monkeypatch.setattr("mbert_cli.machine.process_pool.ignore_further_signals", lambda: None)


def ending(code):
    return lambda _: subprocess.Popen([sys.executable, "-c", f"import os; os._exit({code})"])


def saving():
    process = subprocess.Popen([sys.executable, "-c", SAVING], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_each_job_ends_once_with_the_exit_code_of_its_process():
    ended = []
    with ProcessPool(2, lambda *words: ended.append(words)) as pool:
        pool.start("good", ending(0))
        assert pool.has_room
        pool.start("bad", ending(3))
        assert not pool.has_room
        while pool.jobs:
            pool.poll()
        assert pool.has_room
    assert sorted(ended) == [("bad", 3), ("good", 0)]


def test_a_process_that_a_signal_killed_has_the_exit_code_that_shells_give_it():
    ended = []
    with ProcessPool(1, lambda *words: ended.append(words)) as pool:
        pool.start("job", lambda _: subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]))
        while pool.jobs:
            pool.poll()
    assert ended == [("job", 128 + signal.SIGKILL)]


class Ended:
    """A process that ends when the test sets its exit code."""

    returncode = None

    def poll(self):
        return self.returncode


def test_a_process_has_the_lowest_free_slot(monkeypatch):
    monkeypatch.setattr("mbert_cli.machine.process_pool._POLL_EVERY", 0)
    slots, processes = [], [Ended() for _ in range(5)]
    with ProcessPool(3, lambda *_: None) as pool:
        for number, process in enumerate(processes):
            if number == 3:
                processes[1].returncode = 0
                pool.poll()
                processes[0].returncode = processes[2].returncode = 0
            pool.start(number, lambda slot, process=process: slots.append(slot) or process)
            if number == 3:
                pool.poll()
    assert slots == [0, 1, 2, 1, 0]


@pytest.mark.parametrize(
    ("error", "number"), [(Stopped(signal.SIGINT), signal.SIGINT), (ValueError("ours"), signal.SIGTERM)]
)
def test_an_exception_ends_all_processes_and_waits_for_them(error, number):
    processes, stopped = [saving(), saving()], []

    def run():
        with ProcessPool(2, lambda *_: pytest.fail("ended by itself"), lambda *words: stopped.append(words)) as pool:
            for name, process in enumerate(processes):
                pool.start(name, lambda _, process=process: process)
            raise error

    with pytest.raises(type(error)) as caught:
        run()
    assert caught.value is error
    assert stopped == [(0, 7), (1, 7)]
    for process in processes:
        assert process.stdout.read() == f"{int(number)}\n"
        process.stdout.close()
