"""The submission file of the CS 224N course: `mbert predict --format cs224n`."""

from collections.abc import Iterator, Sequence

from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TextSink, as_cell
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import DataError, UsageError
from mbert_cli.metrics import Goal
from mbert_cli.prediction.predict_table import predict_rows
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.table_tasks import heading
from mbert_cli.prediction.windows import windows

# The header by what a task predicts, and for how many texts. The course spells "Similiary" so.
_HEADERS: dict[tuple[Goal, int], str] = {
    ("classification", 1): "Predicted_Sentiment",
    ("classification", 2): "Predicted_Is_Paraphrase",
    ("regression", 2): "Predicted_Similiary",
}


def predict_cs224n(
    predictor: Predictor,
    table: Table,
    task: str,
    out: TextSink,
    limit: int | None = None,
    done: int = 0,
    truncation: Truncation | None = None,
) -> Iterator[int]:
    r"""Write the submission file of one task: ``id \t Predicted_Sentiment \n``, then ``{id} , {pred} \n`` per row.

    For arguments, yields and errors see `predict_table`.

    Raises:
        UsageError: the course has no such task, or the task has no ids.
    """
    section = predictor.saved.task(task)
    header = _HEADERS.get((predictor.saved.model.head(task).goal, len(section.text)))
    if header is None:
        raise UsageError("--format cs224n is for the course's three tasks; none of them is a regression of one text.")
    if section.id is None:
        raise UsageError(f"--format cs224n needs ids, but tasks.{task}.id of the recipe is null.")
    ids = table.column(heading(table, section, section.id), f"id of task {task}")
    if not done:
        out.write(f"id \t {header} \n")
    for rows in windows(table, done, limit):
        predicted: Sequence[str | float] = predict_rows(predictor, table, task, rows, truncation)["pred"]
        for row, value in zip(rows, predicted, strict=True):
            if any(sign in row.cells[ids] for sign in ",\r\n"):
                raise DataError(
                    f"{table.name}:{row.line}: the id {row.cells[ids]!r} cannot be written in --format cs224n."
                )
            out.write(f"{row.cells[ids]} , {as_cell(value)} \n")
        done += len(rows)
        yield done
