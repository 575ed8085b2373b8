"""The errors a user can mend, each with its exit code. Anything else that is raised is a fault of ours."""

import errno

from mbert_cli.messages import one_line


def command_line(*words: object) -> str:
    """Return a command for the user to run: `mbert` and its words, quoted where a shell needs it."""
    import shlex  # here: what imports this module waits for little, and Ctrl-C is caught early

    return shlex.join(["mbert", *map(str, words)])


class MbertError(Exception):
    """One or more problems, each a sentence of its own: place, value, remedy.

    Args:
        problems: what is wrong, one line each. Line ends and what a terminal would obey, as names from files may hold
            them, are shown as Python writes them.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(map(one_line, problems))
        super().__init__("\n".join(self.problems))


class UsageError(MbertError):
    """The command line asks for something that cannot be done."""


class RecipeError(MbertError):
    """The recipe says something that cannot be built."""


class OptionError(RecipeError):
    """A component refuses one of its options; `compose` adds the place in the recipe.

    Args:
        option: name of the keyword that is refused.
        problem: what it must be, and what it is, e.g. ``must be at most 384 (hidden size), but is 999``.
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option} {problem}.")
        self.option = option
        self.problem = problem


class DataError(MbertError):
    """A data file, or a row of it, cannot be used."""


class BadRowsError(DataError):
    """Rows of a data file cannot be used, and `on_bad_row` says that they may not be left out."""


class CheckpointError(MbertError):
    """An encoder checkpoint or a saved model cannot be loaded."""


class RunInUseError(MbertError):
    """Another process holds the run folder."""

    exit_code = 3


class ResourceError(MbertError):
    """The disk is full or memory has run out."""

    exit_code = 4


class ReaderGoneError(MbertError):
    """The program that read standard output has ended, as `head` does; no message follows."""

    exit_code = 141  # 128 and the number of SIGPIPE


class RunFailedError(MbertError):
    """Runs of a sweep have failed.

    Args:
        exit_code: of the first of them.
        problems: what each came to.
    """

    def __init__(self, exit_code: int, *problems: str) -> None:
        super().__init__(*problems)
        self.exit_code = exit_code


class Stopped(BaseException):
    """A signal asked the process to stop.

    Args:
        number: of the signal.
        problem: what was stopped, and how to go on.
    """

    def __init__(self, number: int, problem: str = "stopped.") -> None:
        super().__init__(problem)
        self.number = number
        self.exit_code = 128 + number


class NotFiniteError(MbertError):
    """A loss or a gradient became NaN or infinite; the update was not applied."""

    exit_code = 5


_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "failed to map segment from shared object",  # an import
    "could not create a primitive",  # oneDNN
    "could not create a memory object",
    "std::bad_alloc",
    "can't start new thread",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out; libraries have no common class for that."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error)
    return any(each in said for each in _NO_MEMORY)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, `1 row` or `1,200 rows`, as messages have it."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
