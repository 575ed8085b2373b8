"""The command line. No torch at module level: `mbert --help` answers at once.

Data goes to stdout, talk to stderr. Exit codes: 0 done; 2 bad usage, recipe, data or checkpoint; 3 the run folder is in
use; 4 disk full or out of memory; 5 a loss is not finite; 130 and 143 stopped by a signal; 1 a fault of ours. A sweep
ends with that of the first run that failed.
"""

import errno
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer
from typer.exceptions import TyperException

from mbert_cli import __version__, stopping
from mbert_cli.commands import recipes
from mbert_cli.commands.count_params import count_params
from mbert_cli.commands.embed import embed
from mbert_cli.commands.evaluate import evaluate
from mbert_cli.commands.export import export
from mbert_cli.commands.help import help_text
from mbert_cli.commands.info import info
from mbert_cli.commands.init import init
from mbert_cli.commands.predict import predict
from mbert_cli.commands.push import push
from mbert_cli.commands.report import report
from mbert_cli.commands.sweep import sweep
from mbert_cli.commands.train import train
from mbert_cli.commands.validate import validate
from mbert_cli.errors import MbertError, ResourceError, Stopped, UsageError

app = typer.Typer(
    name="mbert",
    help="One BERT encoder, fine-tuned for many sentence tasks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"mbert {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


_COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "validate": validate,
    "train": train,
    "evaluate": evaluate,
    "report": report,
    "sweep": sweep,
    "predict": predict,
    "embed": embed,
    "export": export,
    "push": push,
    "count-params": count_params,
    "info": info,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, help=help_text(_command))(_command)
app.add_typer(recipes.app, name="recipes")


def main() -> None:
    """Run the command line; turn errors that a user can mend into one line and an exit code."""
    # PyTorch's threads wait for each other by spinning. Where another process wants the cores, that is ruinous: steps
    # of half a second were seen to take fourteen. A short spin costs nothing on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _hush()
    stopping.listen()
    odd = next((word for word in sys.argv if not _is_utf_8(word)), None)
    if odd is not None:
        _fail(f"{odd!r}: is not UTF-8; rename the file or the folder.", UsageError.exit_code)
    try:
        # What is returned is the exit code of what ends early, such as --version.
        raise SystemExit(app(prog_name="mbert", standalone_mode=False))
    except TyperException as error:
        from mbert_cli.commands.mistakes import mistake

        _fail(mistake(error), UsageError.exit_code)
    except MbertError as error:
        _fail("\n".join(error.problems), error.exit_code)
    except Stopped as stop:
        _fail(str(stop), stop.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except Exception as error:
        if hidden := stopping.stopped_by(error):
            _fail(str(hidden), hidden.exit_code)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            _fail(f"{str(error.filename)[:80]}...: is too long a name for the disk; choose a shorter one.", 2)
        from mbert_cli.hardware import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _fail("out of memory; lower --batch-size.", ResourceError.exit_code)


def _hush() -> None:
    """Keep what libraries tell their programmers, and their bars, from the terminal; `python -W` brings it back."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _is_utf_8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # what the system handed over as other bytes
        return False
    return True


def _fail(message: str, code: int) -> None:
    if message:
        typer.echo(message, err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
