"""The command line: signals, streams, and what becomes of errors; the commands themselves are in `commands`.

Data goes to stdout, messages to stderr. Exit codes: 0 done; 1 internal error, with a traceback; 2 bad usage, recipe,
data or checkpoint; 3 the run folder is in use; 4 disk full or out of memory; 5 a loss is not finite; 129, 130 and 143
stopped by SIGHUP, SIGINT or SIGTERM; 141 the reader of stdout has gone. A sweep ends with that of the first run that
failed.

Little is imported here, so that Ctrl-C is caught from the first hundredth of a second on.
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
    """Run the command line; turn errors that a user can act on into one line and an exit code."""
    signals.listen()
    try:
        from mbert_cli.commands import streams

        streams.guard()
        code = _run()
        sys.stdout.flush()  # here, where an error still has an exit code
        signals.ignore_further_signals()
    except SystemExit:
        raise
    except BaseException as error:
        signals.ignore_further_signals()
        from mbert_cli.commands.failures import explain

        found = explain(error)
        if found is None:
            raise
        message, code = found
        _flush()
        if message:
            print(message, file=sys.stderr)  # noqa: T201
    raise SystemExit(code)


def _run() -> int | None:
    """Run the command that the words name; return the exit code of what ends early, such as --version."""
    # PyTorch's threads wait for each other by spinning. Where another process wants the cores, that is ruinous: steps
    # of half a second were seen to take fourteen. A short spin costs nothing on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _hush()
    _check_folder()
    odd = next((word for word in sys.argv if not _is_utf_8(word)), None)
    if odd is not None:
        raise UsageError(f"{odd!r}: is not UTF-8; rename the file or the folder.")
    from mbert_cli.commands.app import app

    signals.check()  # the import may have taken in a signal
    code: int | None = app(prog_name="mbert", standalone_mode=False)
    return code


def _hush() -> None:
    """Keep what libraries tell their programmers, and their bars, from the terminal; `python -W` brings it back."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _check_folder() -> None:
    """Check that the working folder exists: without it, PyTorch's matrix library ends the process by itself."""
    try:
        os.getcwd()  # noqa: PTH109 -- pathlib takes long to import
    except OSError as error:
        raise UsageError(
            f"the working folder was removed or cannot be read ({error.strerror}); cd to another."
        ) from None


def _is_utf_8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # what the system handed over as other bytes
        return False
    return True


def _flush() -> None:
    """Write the data that precedes an error; its own failure would say less than the error does."""
    from contextlib import suppress

    with suppress(MbertError):
        sys.stdout.flush()


if __name__ == "__main__":
    main()
