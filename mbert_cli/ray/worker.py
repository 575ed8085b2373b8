"""The actor that computes parts."""

import json
from dataclasses import asdict
from typing import Any

from mbert_cli.prediction.divided_files import Part
from mbert_cli.prediction.part_worker import PartWorker


class PartActor(PartWorker):
    """A `PartWorker` for `map` of Ray Data."""

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        """Compute the part in a row, and return its `PartResult` as JSON."""
        return {"result": json.dumps(asdict(self.result_of(Part(**row))))}
