"""The submission file of the CS 224N course: `mbert predict --format cs224n`."""

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TextSink, as_cell
from mbert_cli.errors import DataError, UsageError
from mbert_cli.metrics import Goal
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.table_tasks import heading

# The header by what a task predicts, and for how many texts. The course spells "Similiary" so.
_HEADERS: dict[tuple[Goal, int], str] = {
    ("classification", 1): "Predicted_Sentiment",
    ("classification", 2): "Predicted_Is_Paraphrase",
    ("regression", 2): "Predicted_Similiary",
}


class SubmissionWriter:
    r"""Writes the submission file of one task: ``id \t Predicted_Sentiment \n``, then ``{id} , {pred} \n`` per row.

    Args:
        out: receives the text.
        predictor: the model.
        table: the table whose rows are predicted.
        task: the task.

    Raises:
        DataError: the table has no column with ids.
        UsageError: the course has no such task, or the task has no ids.
    """

    def __init__(self, out: TextSink, predictor: Predictor, table: Table, task: str) -> None:
        section, head = predictor.saved.task(task), predictor.saved.model.head(task)
        header = _HEADERS.get((head.goal, len(section.text)))
        if header is None:
            raise UsageError(
                "--format cs224n is for the course's three tasks; none of them is a regression of one text."
            )
        if section.id is None:
            raise UsageError(f"--format cs224n needs ids, but tasks.{task}.id of the recipe is null.")
        self._out, self._table, self._header = out, table, header
        self._ids = table.column(heading(table, section, section.id), f"id of task {task}")
        self._pred = head.labels.columns.index("pred")

    def write_header(self) -> None:
        """Write the header."""
        self._out.write(f"id \t {self._header} \n")

    def write(self, row: Row, values: list[str | float]) -> None:
        """Write the id and the prediction of a row.

        Args:
            row: a row of the table.
            values: the row's predictions, one for each column of the task's labels.

        Raises:
            DataError: the id contains a comma or a line end.
        """
        id_ = row.cells[self._ids]
        if any(sign in id_ for sign in ",\r\n"):
            raise DataError(f"{self._table.name}:{row.line}: the id {id_!r} cannot be written in --format cs224n.")
        self._out.write(f"{id_} , {as_cell(values[self._pred])} \n")
