"""The actor that computes parts: `--shard` in a process that keeps the model."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mbert_cli.data.truncation import truncation_note
from mbert_cli.errors import MbertError, ResourceError, RunInUseError, is_out_of_memory
from mbert_cli.prediction.embed_file import EmbedOptions, embed_file
from mbert_cli.prediction.predict_files import PredictOptions, predict_files
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.shard import Shard
from mbert_cli.ray.parts import Part, PartResult
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.finished_output import finished_output
from mbert_cli.storage.model_folder import model_section
from mbert_cli.terminal.console import Console

_PATIENCE = 60  # seconds that an actor waits for a part which another one still holds


@dataclass(frozen=True)
class ModelOptions:
    """How an actor loads the model.

    Args:
        run: absolute path of the run folder.
        options: options of `Predictor`.
        threads: number of threads.
    """

    run: str
    options: Mapping[str, Any]
    threads: int


class _Notes(Console):
    """Collects notes instead of printing messages."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


class PartWorker(ABC):
    """Computes parts with a model that it loads once.

    A part that another actor has finished, or begun before it died, is continued, because a part is the output of
    `--shard`: its journal says what is complete.

    Args:
        model: how the model is loaded.
        options: how inputs are read and outputs are written.
    """

    def __init__(self, model: ModelOptions, options: Any) -> None:
        torch.set_num_threads(model.threads)
        self._model, self._options = model, options
        self._section = model_section(Path(model.run))
        self._predictor: Predictor | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        """Compute the part in a row, and return its `PartResult` as JSON."""
        part = Part(**row)
        try:
            result = self._result(part)
        except MbertError as error:
            result = PartResult(part.input, problems=error.problems, exit_code=error.exit_code)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            problem = f"{part.input}: out of memory; lower --batch-size, or use fewer --workers."
            result = PartResult(part.input, problems=(problem,), exit_code=ResourceError.exit_code)
        return {"result": json.dumps(asdict(result))}

    @abstractmethod
    def compute(self, part: Part, section: ModelSection, load: Callable[[], Predictor], options: Any) -> list[str]:
        """Write the output of a part; return what the user should know, one line each."""

    def _result(self, part: Part) -> PartResult:
        options = replace(self._options, shard=Shard(part.number, part.count), force=True)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                notes = self.compute(part, self._section, self._load, options)
                break
            except RunInUseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
        saved = self._load().saved
        written = finished_output(Path(part.output))
        limits = saved.tokenizer.max_length, saved.model.shape.max_positions
        own_note = truncation_note(written.facts, *limits)
        notes = [note for note in notes if note != own_note]
        return PartResult(part.input, written.rows, written.facts, limits, notes)

    def _load(self) -> Predictor:
        self._predictor = self._predictor or Predictor(self._model.run, **self._model.options)
        return self._predictor


class PartPredictor(PartWorker):
    """Predicts parts."""

    def compute(
        self, part: Part, section: ModelSection, load: Callable[[], Predictor], options: PredictOptions
    ) -> list[str]:
        """See `PartWorker.compute`."""
        console = _Notes()
        predict_files({part.input: part.output}, section, load, options, console)
        return console.notes


class PartEmbedder(PartWorker):
    """Embeds parts."""

    def compute(
        self, part: Part, section: ModelSection, load: Callable[[], Predictor], options: EmbedOptions
    ) -> list[str]:
        """See `PartWorker.compute`."""
        return embed_file(part.input, Path(part.output), section, load, options, _Notes())[1:]
