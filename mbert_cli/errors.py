"""Errors that a user can fix, each with its exit code. Any other exception is an internal error."""

import errno

from mbert_cli.messages import one_line


def command_line(*words: object) -> str:
    """Return a command that the user can paste into a shell: `mbert` and its words, quoted if necessary."""
    import shlex  # here, because this module is imported before Ctrl-C is caught

    return shlex.join(["mbert", *map(str, words)])


class MbertError(Exception):
    """One or more problems, each a sentence: place, value, remedy.

    Args:
        problems: one line each. Line ends and control characters, which names in files may contain, are escaped.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(map(one_line, problems))
        super().__init__("\n".join(self.problems))


class UsageError(MbertError):
    """The command line asks for something impossible."""


class RecipeError(MbertError):
    """The recipe is not valid."""


class OptionError(RecipeError):
    """A component rejects one of its options; `components` adds the place in the recipe.

    Args:
        option: name of the option.
        problem: the requirement and the value, e.g. ``must be at most 384 (hidden size), but is 999``.
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option} {problem}.")
        self.option = option
        self.problem = problem


class DataError(MbertError):
    """A data file, or a row of one, cannot be used."""


class BadRowsError(DataError):
    """Rows of a data file cannot be used, and `on_bad_row` does not allow skipping them."""


class CheckpointError(MbertError):
    """An encoder checkpoint or a saved model cannot be loaded."""


class RunInUseError(MbertError):
    """Another process uses the run folder."""

    exit_code = 3


class ResourceError(MbertError):
    """The disk is full, or there is not enough memory."""

    exit_code = 4


class ReaderGoneError(MbertError):
    """The reader of standard output, such as `head`, has exited; no message is printed."""

    exit_code = 141  # 128 + the number of SIGPIPE


class RunFailedError(MbertError):
    """Runs of a sweep have failed.

    Args:
        exit_code: exit code of the first run that failed.
        problems: one line for each run that failed.
    """

    def __init__(self, exit_code: int, *problems: str) -> None:
        super().__init__(*problems)
        self.exit_code = exit_code


class Stopped(BaseException):
    """A signal asked the process to stop.

    Args:
        number: number of the signal.
        problem: what was stopped, and how to continue.
    """

    def __init__(self, number: int, problem: str = "stopped.") -> None:
        super().__init__(problem)
        self.number = number
        self.exit_code = 128 + number


class NotFiniteError(MbertError):
    """A loss or a gradient is NaN or infinite; the update was not applied."""

    exit_code = 5


class LostProcessError(MbertError):
    """Another process of the run has ended or does not answer."""

    exit_code = 6


class PeerFailedError(MbertError):
    """Another process of the run failed and prints the message; this one prints none.

    Args:
        exit_code: exit code of the other process.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


_LONGEST_REASON = 160  # characters
_NO_MEMORY = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "Cannot allocate memory",
    "failed to map segment from shared object",  # an import
    "could not create a primitive",  # oneDNN
    "could not create a memory object",
    "std::bad_alloc",
    "can't start new thread",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that there is not enough memory; libraries have no common class for this."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    message = str(error)
    return any(each in message for each in _NO_MEMORY)


def counted(count: int, noun: str) -> str:
    """Return a number with a noun, for messages: `1 row` or `1,200 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def reason_of(error: BaseException) -> str:
    """Return the message of another library's error on one line, cut if it is long; for a message of ours."""
    return " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".") or type(error).__name__
