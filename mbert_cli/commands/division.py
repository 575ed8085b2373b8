"""How the rows of a command are divided among processes: `--devices`, torchrun, `--engine ray` or `--shard`."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbert_cli.errors import Stopped, UsageError
from mbert_cli.machine.launcher import check_alone, is_one_of_many, launch, own_words, parse_devices
from mbert_cli.machine.signals import stopped_by
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.machine.process_group import Processes
    from mbert_cli.prediction.embed_file import EmbedOptions
    from mbert_cli.prediction.predict_files import PredictOptions

AGAIN = "run the same command again"
"""What the user does if a process of an evaluation is lost."""
CONTINUE = f"{AGAIN}, which continues"
"""What the user does if a process of a prediction is lost."""


@dataclass(frozen=True)
class Division:
    """The options that divide the rows among processes.

    Args:
        devices: the value of --devices.
        device: the value of --device.
        engine: the value of --engine.
        address: the value of --address.
        workers: the value of --workers.
        shard: the value of --shard.
    """

    devices: str | None
    device: str
    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    shard: str | None = None

    @property
    def by(self) -> str:
        """The option or program that divides the rows among processes, for messages; empty if none does."""
        if self.engine == "ray":
            return "--engine ray"
        return "torchrun" if is_one_of_many() else "--devices" if self.devices is not None else ""

    def check(self) -> None:
        """Check that the options can be used together.

        Raises:
            UsageError: they cannot.
        """
        starts = [
            name for name, given in (("--devices", self.devices), ("--engine ray", self.engine == "ray")) if given
        ]
        dividing = [*starts, *(["--shard"] if self.shard is not None else [])]
        if len(dividing) > 1:
            raise UsageError(f"{dividing[0]} and {dividing[1]} both divide the rows; leave one of them out.")
        if starts:
            check_alone(starts[0])
        if self.shard is not None and self.by:
            raise UsageError(f"--shard and {self.by} both divide the rows; leave one of them out.")
        if self.engine != "ray":
            for name, value in (("--address", self.address), ("--workers", self.workers)):
                if value is not None:
                    raise UsageError(f"{name} needs --engine ray.")
        if self.devices is not None:
            parse_devices(self.devices)
        if self.by in ("--devices", "torchrun") and self.device.startswith("cuda:"):
            raise UsageError(f"--device is '{self.device}', but each process has its own GPU; use auto, cpu or cuda.")

    def check_data(self, files: Mapping[str, str]) -> None:
        """Check that all processes can read files of labelled data.

        Args:
            files: for each task the value of --data.

        Raises:
            UsageError: a file is a stream.
        """
        for task, file in files.items():
            is_stream = file == "-" or (Path(file).exists() and not Path(file).is_file())
            if self.by and is_stream:
                raise UsageError(f"--data {task}={file}: several processes cannot read one stream; save it as a file.")

    def launch(self, remedy: str) -> None:
        """Run this command in the processes of --devices; return when all have succeeded.

        Args:
            remedy: what the user does if a process is lost.

        Raises:
            MbertError: see `launcher.launch`.
        """
        assert self.devices is not None
        launch(*parse_devices(self.devices), own_words(), remedy)


@contextmanager
def connected(device: str, remedy: str) -> Iterator["Processes | None"]:
    """Connect this process with the others that torchrun has started, while a block runs; None if there are none.

    Args:
        device: the value of --device.
        remedy: what the user does if a process is lost.

    Raises:
        MbertError: see `process_group.joined`.
    """
    if not is_one_of_many():
        yield None
        return
    from mbert_cli.machine.process_group import joined

    try:
        with joined(device, remedy) as processes:
            yield processes
    except BaseException as error:
        stop = stopped_by(error)
        if stop is None:
            raise
        is_first = os.environ["RANK"] == "0"
        raise Stopped(stop.number, f"stopped; {remedy}." if is_first else "") from None


def together(processes: "Processes | None") -> AbstractContextManager[None]:
    """Return a block that fails in all processes, with one message, if it fails in one; see `Processes.together`."""
    return processes.together() if processes else nullcontext()


def compute(
    division: Division,
    run: Path,
    prepare: Callable[[], tuple[Mapping[str, str], "PredictOptions | EmbedOptions"]],
    model: Mapping[str, Any],
    compute_here: Callable[[Mapping[str, str], Any], None],
    console: Console,
) -> None:
    """Predict or embed files in one process, or in several as the options ask for it.

    Args:
        division: how the rows are divided.
        run: the run folder.
        prepare: checks the options; returns for each input its output, and how inputs are read and outputs are written.
        model: options of `Predictor`.
        compute_here: computes all in this process; takes the result of `prepare`.
        console: prints progress, and afterwards what the user should know.

    Raises:
        MbertError: an input, an output or an option cannot be used.
    """
    if is_one_of_many():
        with connected(division.device, CONTINUE) as processes:
            from mbert_cli.prediction.in_processes import compute_in_processes

            assert processes is not None
            with processes.together():
                files, options = prepare()
            compute_in_processes(run, files, options, model, processes, console)
        return
    files, options = prepare()
    if division.devices is not None:
        division.launch(CONTINUE)
    elif division.engine == "ray":
        from mbert_cli.ray.engine import compute as compute_on_ray

        compute_on_ray(run, files, options, model, division.address, division.workers, console)
    else:
        compute_here(files, options)
