"""The computation of parts, as `--shard` computes them, in a process that keeps the model."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mbert_cli.errors import DataError, MbertError, ResourceError, RunInUseError, is_out_of_memory
from mbert_cli.prediction.accepted_int8 import load_to_predict
from mbert_cli.prediction.divided_files import Part, PartResult
from mbert_cli.prediction.embed_file import EmbedOptions, embed_file
from mbert_cli.prediction.predict_files import PredictOptions, predict_files
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.shard import Shard
from mbert_cli.storage.finished_output import finished_output
from mbert_cli.storage.local_copies import CACHE, pin
from mbert_cli.storage.model_folder import model_section
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.progress import Bar

_PATIENCE = 60  # seconds that a process waits for a part which another one still holds


@dataclass(frozen=True)
class ModelOptions:
    """How a process loads the model.

    Args:
        run: the run folder.
        options: options of `Predictor`.
        threads: number of threads; None for PyTorch's default.
        cache: folder of the copies of URLs, if the machine has no setting of its own.
    """

    run: str
    options: Mapping[str, Any]
    threads: int | None = None
    cache: str | None = None


class _Notes(Console):
    """Collects notes instead of printing messages; another console shows the progress."""

    def __init__(self, console: Console) -> None:
        super().__init__(quiet=True)
        self.notes: list[str] = []
        self._console = console

    def note(self, line: str) -> None:
        self.notes.append(line)

    @contextmanager
    def bar(self, description: str, total: int | None) -> Iterator[Bar]:
        with self._console.bar(description, total) as bar:
            yield bar


class PartWorker:
    """Computes parts with a model that it loads once.

    A part that another process has finished, or begun before it died, is continued, because a part is the output of
    `--shard`: its journal lists what is complete.

    Args:
        model: how the model is loaded.
        options: how inputs are read and outputs are written.
        console: shows the progress of a part; None for none.
    """

    def __init__(
        self, model: ModelOptions, options: PredictOptions | EmbedOptions, console: Console | None = None
    ) -> None:
        if model.threads is not None:
            torch.set_num_threads(model.threads)
        if model.cache:
            os.environ.setdefault(CACHE, model.cache)
        self._model, self._options = model, options
        self._console = console or Console(quiet=True)
        self._section = model_section(Path(model.run))
        self._predictor: Predictor | None = None

    def result_of(self, part: Part) -> PartResult:
        """Compute a part; return what became of it. If it cannot be computed, the result has the problems."""
        try:
            return self._computed(part)
        except MbertError as error:
            is_input_bad = isinstance(error, DataError)
            return PartResult(part.input, problems=error.problems, exit_code=error.exit_code, is_input_bad=is_input_bad)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            problem = f"{part.input}: out of memory; lower --batch-size, or use fewer processes."
            return PartResult(part.input, problems=(problem,), exit_code=ResourceError.exit_code)

    def _computed(self, part: Part) -> PartResult:
        if part.version:
            pin(part.input, part.version)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                notes = self._write(part)
                break
            except RunInUseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
        limits = self._loaded(self._console).saved.limits
        written = finished_output(Path(part.output))
        own_note = limits.note(written.facts)
        notes = [note for note in notes if note != own_note]
        return PartResult(part.input, written.rows, written.facts, asdict(limits), notes)

    def _write(self, part: Part) -> list[str]:
        """Write the output of a part; return what the user should know, one line each."""
        options = replace(self._options, shard=Shard(part.number, part.count), force=True)
        console = _Notes(self._console)
        load = partial(self._loaded, console)
        if isinstance(options, PredictOptions):
            predict_files({part.input: part.output}, self._section, load, options, console)
            return console.notes
        return embed_file(part.input, Path(part.output), self._section, load, options, console)[1:]

    def _loaded(self, console: Console) -> Predictor:
        """Return the model. The first call loads it, and its console gets the note about the precision."""
        if self._predictor is None:
            run, options = Path(self._model.run), self._model.options
            is_prediction = isinstance(self._options, PredictOptions)
            self._predictor = load_to_predict(run, options, console) if is_prediction else Predictor(run, **options)
        return self._predictor
