"""One procedure: embed; the texts of a table as vectors in a file."""

from collections.abc import Iterator, Sequence

import numpy as np

from mbert_cli.data.table import Table
from mbert_cli.data.truncation import Truncation
from mbert_cli.data.vectors import VectorFile
from mbert_cli.prediction.predict_table import windows
from mbert_cli.prediction.predictor import Predictor


def embed_table(
    predictor: Predictor,
    table: Table,
    columns: Sequence[str],
    task: str,
    out: VectorFile,
    normalise: bool = False,
    limit: int | None = None,
    truncation: Truncation | None = None,
) -> Iterator[int]:
    """Write the vectors of a table's rows; memory does not grow with the table.

    Args:
        predictor: the model.
        table: the input.
        columns: the column of texts, or the two that are read as one sequence.
        task: whose adapters act.
        out: where they are written; it is not closed.
        normalise: scale each vector to length 1.
        limit: how many rows at most.
        truncation: counts the rows that are cut.

    Yields:
        How many rows are written, after every few thousand.

    Raises:
        DataError: a row is malformed, or there is no such column.
    """
    places = [table.text_column(column, "text to embed") for column in columns]
    rows = 0
    for window in windows(table, 0, limit):
        data = predictor.tokenise_to_embed([[row.cells[place] for row in window] for place in places], task)
        if truncation is not None:
            truncation.add(task, data, table.name, [row.line for row in window])
        vectors = predictor.embed_tokens(data, task)
        if normalise:
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        out.write(window, vectors)
        rows += len(window)
        yield rows
