"""The entry point of the command line: it sets up signals and streams, and turns exceptions into messages.

Data goes to stdout, messages to stderr. Exit codes: 0 success; 1 internal error, with a traceback; 2 bad usage, recipe,
data or checkpoint; 3 the run folder is in use; 4 disk full or out of memory; 5 a loss is not finite; 6 another process
of the run was lost; 129, 130 and 143 stopped by SIGHUP, SIGINT or SIGTERM; 141 the reader of stdout has exited. A sweep
exits with the code of the first run that failed.

This module imports little, so that Ctrl-C is caught from the first hundredth of a second on.
"""

import os
import sys
import warnings

from mbert_cli.errors import MbertError, UsageError
from mbert_cli.machine import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mbert_cli.commands.app import app as app


def __getattr__(name: str) -> object:
    if name == "app":
        from mbert_cli.commands.app import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Run the command line; print errors that a user can fix as one line, and exit with their code."""
    signals.listen()
    try:
        from mbert_cli.commands import streams

        streams.guard()
        code = _run()
        sys.stdout.flush()  # here, so that an error sets the exit code
        signals.ignore_further_signals()
    except SystemExit:
        raise
    except BaseException as error:
        signals.ignore_further_signals()
        from mbert_cli.commands.failures import explain

        explanation = explain(error)
        if explanation is None:
            raise
        message, code = explanation
        _flush()
        if message:
            print(message, file=sys.stderr)  # noqa: T201
    _keep_objects()
    raise SystemExit(code)


def _run() -> int | None:
    """Run the command; return the exit code of an option that ends it early, such as --version."""
    # PyTorch's threads spin while they wait for each other. If other processes use the cores, this is very slow: a step
    # of half a second can take 14 seconds. A short spin costs nothing on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _silence_libraries()
    _check_folder()
    invalid = next((word for word in sys.argv if not _is_utf_8(word)), None)
    if invalid is not None:
        raise UsageError(f"{invalid!r}: is not UTF-8; rename the file or the folder.")
    from mbert_cli.commands.app import app

    signals.check()  # a signal during the import is deferred until here
    code: int | None = app(prog_name="mbert", standalone_mode=False)
    return code


def _keep_objects() -> None:
    """Exclude all objects from garbage collection. Otherwise, Python searches PyTorch's objects several times at exit.

    This is safe: files are closed before. Exit handlers and the end of threads do not depend on the collector.
    """
    import gc

    gc.freeze()


def _silence_libraries() -> None:
    """Disable warnings, log messages and progress bars of libraries; `python -W` enables the warnings."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _check_folder() -> None:
    """Check that the working folder exists; otherwise PyTorch's matrix library would end the process."""
    try:
        os.getcwd()  # noqa: PTH109 -- importing pathlib is slow
    except OSError as error:
        raise UsageError(
            f"the working folder was removed or cannot be read ({error.strerror}); cd to another."
        ) from None


def _is_utf_8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # the argument contains bytes that are not UTF-8
        return False
    return True


def _flush() -> None:
    """Flush the data that precedes an error; ignore a failure, because the error is more informative."""
    from contextlib import suppress

    with suppress(MbertError):
        sys.stdout.flush()


if __name__ == "__main__":
    main()
