"""Commands whose streams fail: each exits with a documented code and one line, never a traceback."""

import contextlib
import errno
import io
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny
from commands import mbert
from records import record

from mbert_cli.commands import streams
from mbert_cli.commands.app import app
from mbert_cli.commands.failures import explain
from mbert_cli.errors import ReaderGoneError, Stopped, UsageError
from mbert_cli.terminal.console import Console
from mbert_cli.training.console import print_next_steps

COMMAND = (sys.executable, "-P", "-m", "mbert_cli.cli")
STDIN, STDOUT, STDERR = range(3)
# The exit code and the message of a command whose data cannot be written.
FAULTS = {
    "full": (4, "standard output: the disk is full; free some space and run the command again.\n"),
    "closed": (2, "standard output is closed; redirect it to a file, or to /dev/null.\n"),
    "gone": (141, ""),
}
COMMANDS = (
    "--help",
    "--version",
    "recipes ls",
    "recipes cat demo",
    "recipes schema",
    "info",
    "count-params recipe.yaml",
    "validate recipe.yaml -q --no-measure",
    "report run -q",
    "evaluate run -q -t mood --kernels torch",
    "predict run in.tsv -q --kernels torch",
    "predict run - -q --kernels torch",
    "sweep plan.yaml --dry-run -q",
    "push run me/moods --dry-run -q",
)
PRINTERS = ("--help", "recipes cat demo", "info --json", "report run -q", "predict run in.tsv -q --kernels torch")
TEXT = "text\nthe cat\na dog\n"


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A trained run, its recipe, a plan and a table."""
    folder = tmp_path_factory.mktemp("streams")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    (folder / "in.tsv").write_text(TEXT)
    (folder / "plan.yaml").write_text("title: One\nseeds: [1]\nrows:\n  - {name: a, recipe: recipe.yaml}\n")
    done = mbert("train", recipe, "-o", "run", "--kernels", "torch", "training.epochs=1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def lines(done):
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


# Every command with a full disk; the other faults with one command for each way of printing.
@pytest.mark.parametrize(
    ("words", "fault"),
    [
        *((words, "full") for words in COMMANDS),
        *((words, fault) for words in PRINTERS for fault in ("closed", "gone")),
    ],
)
def test_data_that_cannot_be_written_ends_a_command_with_one_line(words, fault, folder):
    done = mbert(*words.split(), cwd=folder, stdin=TEXT, broken={STDOUT: fault})
    assert (done.returncode, done.stderr) == FAULTS[fault]


@pytest.mark.parametrize("fault", FAULTS)
def test_messages_that_cannot_be_written_do_not_change_the_result(fault, folder):
    done = mbert("predict", "run", "in.tsv", "-v", "--kernels", "torch", cwd=folder, broken={STDERR: fault})
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    wrong = mbert("predict", "run", "none.tsv", cwd=folder, broken={STDERR: fault})
    assert (wrong.returncode, wrong.stdout) == (2, "")


@pytest.mark.parametrize(("numbers", "fault"), [([STDERR], "full"), ([STDOUT, STDERR], "gone")])
def test_training_continues_if_messages_cannot_be_written(numbers, fault, folder, tmp_path):
    words = ("train", folder / "recipe.yaml", "-o", "run", "--kernels", "torch", "training.epochs=1")
    done = mbert(*words, cwd=tmp_path, broken=dict.fromkeys(numbers, fault))
    assert done.returncode == 0
    weights = "run/model/tasks/mood.safetensors"
    assert (tmp_path / weights).read_bytes() == (folder / weights).read_bytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_training_continues_with_a_message_if_events_cannot_be_written(fault, folder, tmp_path):
    words = ("train", folder / "recipe.yaml", "-o", "run", "--kernels", "torch", "training.epochs=1", "--json")
    done = mbert(*words, cwd=tmp_path, broken={STDOUT: fault})
    assert done.returncode == 0
    assert (tmp_path / "run" / "model").is_dir()
    printed = [line for line in lines(done) if line.startswith("standard output")]
    lost = "standard output cannot be written: its output is lost, but the command continues."
    assert printed == ([] if fault == "gone" else [lost])


@pytest.mark.parametrize("words", ["predict run -", "predict run - -o out.tsv", "embed run - -t mood -o out.npy"])
def test_a_closed_stdin_is_refused_by_commands_that_read_it(words, folder):
    done = mbert(*words.split(), cwd=folder, broken={STDIN: "closed"})
    assert (done.returncode, done.stdout) == (2, "")
    assert lines(done) == ["standard input is closed; redirect a file to it, or name the file."]
    assert not list(folder.glob("out.*"))


def test_files_do_not_get_the_numbers_of_closed_streams(folder, tmp_path):
    closed = dict.fromkeys((STDIN, STDOUT, STDERR), "closed")
    done = mbert("predict", folder / "run", folder / "in.tsv", "-o", "out.tsv", cwd=tmp_path, broken=closed)
    assert done.returncode == 0
    assert (
        mbert("predict", folder / "run", folder / "in.tsv", cwd=tmp_path).stdout == (tmp_path / "out.tsv").read_text()
    )


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("init in.tsv", "; this command writes a file; name one."),
        ("recipes cp demo", "; this command writes a file; name one."),
        ("evaluate run", ", but this command writes a folder; name a folder."),
        ("predict run in.tsv", "; write to stdout by -o -."),
    ],
)
def test_an_output_that_is_a_stream_is_refused_with_an_alternative(words, instead, name, folder):
    if name == "-" and words.startswith("predict"):
        return  # `-` is stdout for predict
    option = [] if words.startswith("recipes") else ["-o"]
    with pytest.raises(UsageError) as refusal, contextlib.chdir(folder):
        app([*words.split(), *option, name], standalone_mode=False)
    assert str(refusal.value) == f"{name}: is a stream{instead}"


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("init in.tsv -o", "name a file"),
        ("recipes cp demo", "name a file"),
        ("predict run in.tsv -o", "write to - and redirect that"),
    ],
)
def test_stdout_is_offered_only_by_commands_that_write_to_it(words, remedy, folder):
    with pytest.raises(UsageError) as refusal, contextlib.chdir(folder):
        app([*words.split(), "/dev/full"], standalone_mode=False)
    assert str(refusal.value) == f"/dev/full: is not a regular file; {remedy}."


ROWS = [{"text": f"some words, number {i} of them", "kind": "ab"[i % 2]} for i in range(60)]


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("tsv", "text\tkind\n" + "".join(f"{row['text']}\t{row['kind']}\n" for row in ROWS)),
        ("csv", "text,kind\n" + "".join(f'"{row["text"]}",{row["kind"]}\n' for row in ROWS)),
        ("jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
    ],
)
def test_init_saves_standard_input_and_reads_it_once(ending, text, tiny_checkpoint, tmp_path):
    done = mbert("init", "-", "-o", "my recipe.yaml", cwd=tmp_path, stdin=text)
    assert done.returncode == 0, done.stderr
    assert lines(done)[0] == f"saved standard input as input.{ending}"
    assert (tmp_path / f"input.{ending}").read_text() == text
    # Suggested commands can be pasted into a shell.
    assert lines(done)[-1].endswith(": mbert train 'my recipe.yaml'")
    words = shlex.split(lines(done)[-2].split(": ")[-1])[1:]
    checked = mbert(
        *words, f"encoder.checkpoint={tiny_checkpoint}", "training.max_length=32", "--no-measure", cwd=tmp_path
    )
    assert checked.returncode == 0, checked.stderr


def test_init_reads_process_substitutions_once(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tkind\n" + "".join(f"{row['text']}\t{row['kind']}\n" for row in ROWS))
    code = f"{' '.join(COMMAND)} init <(cat a.tsv) <(gzip < a.tsv) -q -o two.yaml"
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    saved = [(tmp_path / name).read_text() for name in ("input.tsv", "input_2.tsv")]
    assert saved == [(tmp_path / "a.tsv").read_text()] * 2


def test_suggested_commands_are_quoted_for_a_shell(folder, capsys):
    kept = record(1, tasks={"mood": {"main_metric": "accuracy", "accuracy": 0.5}})
    print_next_steps(Console(), kept, Path("my runs/a'b"), 1.0)
    commands = [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines() if ": " in line]
    assert [shlex.split(command)[2] for command in commands] == ["my runs/a'b"] * 3
    done = mbert("recipes", "cp", "demo", "my demo.yaml", cwd=folder)
    assert lines(done)[-1].endswith(": mbert train 'my demo.yaml'")


# These tests start interpreters, because they test how an interpreter starts and exits.


def test_python_prints_no_error_at_exit_if_stdout_is_full(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "recipes", "cat", "demo"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr.decode()) == FAULTS["full"]


INTERRUPTED = """
import os, signal, sys
module = sys.argv[1]
class Interrupt:
    def find_spec(self, name, *rest):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from mbert_cli.cli import main
sys.argv = ["mbert", *sys.argv[2:]]
main()
"""


@pytest.mark.parametrize(
    ("module", "words"), [("typer", "--help"), ("rich.console", "recipes ls"), ("torch._C", "validate recipe.yaml")]
)
def test_ctrl_c_during_an_import_prints_one_line(module, words, folder):
    command = [sys.executable, "-c", INTERRUPTED, module, *words.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped.\n")


def test_a_signal_does_not_interrupt_an_import(tmp_path):
    # An exception during the import of compiled code can end the process with a C++ error.
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nprint('imported')\n")
    code = (
        "import time; from mbert_cli.machine import signals; from mbert_cli.errors import Stopped\n"
        "signals.listen()\n"
        "try:\n"
        "    import slow\n"
        "    time.sleep(60)\n"
        "except Stopped as stop: print(stop.exit_code)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("imported\n143\n", "")


def test_only_the_standard_library_is_imported_before_signals_are_caught():
    code = "import sys; before = set(sys.modules); import mbert_cli.cli; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.split(".")[0] for name in done.stdout.split()}
    assert tops - sys.stdlib_module_names == {"mbert_cli"}
    # These modules are slower to import than all others.
    assert not {"importlib.metadata", "pathlib", "typing"} & set(done.stdout.split())


def test_a_working_folder_that_was_removed_is_reported_in_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    code = f"cd gone && rmdir ../gone && {' '.join(COMMAND)} count-params demo"
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    message = "the working folder was removed or cannot be read (No such file or directory); cd to another.\n"
    assert (done.returncode, done.stderr) == (2, message)


def close_the_terminal_of(command, tmp_path):
    """Train in a terminal that is closed after the first epoch; return the exit code."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which ignores it
        os.execvp(command[0], [*map(str, command)])
    printed = b""
    while b"overall" not in printed:
        printed += os.read(terminal, 4096)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_training_saves_when_its_terminal_is_closed_and_can_be_resumed(folder, tmp_path):
    words = ("train", folder / "recipe.yaml", "-o", "run", "--kernels", "torch")
    assert close_the_terminal_of([*COMMAND, *words, "training.epochs=500"], tmp_path) == 129
    before = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert 1 <= before < 500
    state = max((tmp_path / "run" / "state").iterdir(), key=lambda at: at.stat().st_mtime)
    assert (state / "manifest.json").is_file()
    shorter = mbert(
        "train", "-o", "run", "--resume", f"training.epochs={before + 1}", "--kernels", "torch", cwd=tmp_path
    )
    assert shorter.returncode == 0, shorter.stderr


def test_a_signal_that_nohup_ignores_stays_ignored():
    code = (
        "import os, signal; from mbert_cli.machine import signals; from mbert_cli.errors import Stopped\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); signals.listen(); os.kill(os.getpid(), signal.SIGHUP)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); signals.listen()\n"
        "try: os.kill(os.getpid(), signal.SIGHUP)\n"
        "except Stopped as stop: print(stop.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "129\n", "")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("recipes schema", "standard output"),
        ("train recipe.yaml -o limited --kernels torch training.epochs=1", "limited/"),
        ("embed run long.tsv -t mood -o long.npy --kernels torch", "long.npy"),
    ],
)
def test_a_limit_on_file_sizes_is_reported_in_one_line(words, place, folder):
    (folder / "long.tsv").write_text("text\n" + "the cat\n" * 500)
    done = mbert(*words.split(), cwd=folder, broken={STDIN: "limited"})
    assert done.returncode == 4
    assert lines(done)[-1].startswith(place)
    assert "is larger than the limit for files; raise it (ulimit -f)" in lines(done)[-1]
    assert not [path for path in folder.iterdir() if path.name.startswith((".long", "long.npy"))]


NO_MEMORY = "out of memory; lower --batch-size (in training: raise training.accumulate), or free some memory."


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (MemoryError(), NO_MEMORY, 4),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), NO_MEMORY, 4),
        (RuntimeError("could not create a primitive"), NO_MEMORY, 4),
        (RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)"), NO_MEMORY, 4),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), NO_MEMORY, 4),
        (ImportError("libx.so: failed to map segment from shared object"), NO_MEMORY, 4),
        (RuntimeError("can't start new thread"), NO_MEMORY, 4),
        (OSError(errno.EIO, "I/O error", "x"), "x: the disk reports an error (Input/output error); repair it and ", 4),
        (OSError(errno.EDQUOT, "quota", "x"), "x: the disk is full; free some space and run the command again.", 4),
        (OSError(errno.ENOSPC, "full"), "a file: the disk is full; free some space and run the command again.", 4),
        (OSError(errno.EMFILE, "many", "x"), "x: too many files are open; raise the limit (ulimit -n) and ", 4),
        (OSError(errno.EAGAIN, "again"), "no more processes or threads can be started (again); raise the limit.", 4),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: cannot be used (Permission denied); ", 2),
        (FileNotFoundError(errno.ENOENT, "No such file", b"x"), "x: cannot be used (No such file); ", 2),
        (ReaderGoneError(), "", 141),
        (Stopped(signal.SIGHUP), "stopped.", 129),
    ],
)
def test_system_errors_become_one_line_and_an_exit_code(error, message, code):
    explanation, exit_code = explain(error)
    assert explanation.startswith(message)
    assert (len(explanation.splitlines()), exit_code) == (bool(message), code)


def test_an_error_that_a_library_wrapped_is_explained_but_an_internal_error_is_not():
    wrapped = RuntimeError("the writer failed")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device", "x")
    assert explain(wrapped) == ("x: the disk is full; free some space and run the command again.", 4)
    ours = TypeError("a mistake")
    ours.__context__ = FileNotFoundError(errno.ENOENT, "No such file", "x")
    assert explain(ours) is None
    assert explain(OSError("no number")) is None


@pytest.mark.parametrize("words", ["report run -o page.html", "recipes cp demo quiet.yaml", "info"])
def test_quiet_commands_print_no_messages(words, folder):
    done = mbert(*words.split(), "-q", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_non_blocking_stdout_receives_all_data():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    found = []

    def read():
        while piece := os.read(reader, 1 << 16):
            found.append(piece)

    data = bytes(range(256)) * 4096  # more than a pipe holds
    thread = threading.Thread(target=read)
    threading.Timer(0.2, thread.start).start()  # the pipe is full until then
    with io.BufferedWriter(streams.Data(writer, "wb")) as file:
        file.write(data)
    while not thread.ident:
        time.sleep(0.01)
    thread.join()
    assert b"".join(found) == data


def test_a_character_outside_the_terminals_encoding_is_escaped(tmp_path):
    (tmp_path / "recipe.yaml").write_text("# \u96f6\n", encoding="utf-8")
    command = [*COMMAND, "recipes", "cat", "recipe.yaml"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "# \\u96f6\n", "")
