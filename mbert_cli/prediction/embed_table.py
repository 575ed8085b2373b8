"""Embed the texts of a table, and write their vectors."""

from collections.abc import Iterator, Sequence

import numpy as np

from mbert_cli.data.table import Table
from mbert_cli.data.truncation import Truncation
from mbert_cli.data.vectors import VectorFile
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.windows import windows


def embed_table(
    predictor: Predictor,
    table: Table,
    columns: Sequence[str],
    task: str,
    out: VectorFile,
    normalise: bool = False,
    limit: int | None = None,
    truncation: Truncation | None = None,
    done: int = 0,
    wanted: range | None = None,
) -> Iterator[int]:
    """Write the vectors of a table's rows. The memory that this needs does not depend on the number of rows.

    Args:
        predictor: the model.
        table: the input.
        columns: the column of texts, or the two columns that are read as one sequence.
        task: the task whose adapters are used.
        out: the output; it is not closed.
        normalise: scale each vector to length 1.
        limit: number of rows to read at most.
        truncation: counts the rows that are cut.
        done: number of rows that an earlier call has written, as it yielded it; they are skipped.
        wanted: numbers of the rows that are written, from 0; None for all.

    Yields:
        The number of rows written so far, after every few thousand.

    Raises:
        DataError: a row is malformed, or there is no such column.
    """
    places = [table.text_column(column, "text to embed") for column in columns]
    for window in windows(table, done, limit, wanted=wanted):
        data = predictor.tokenise_to_embed([[row.cells[place] for row in window.rows] for place in places], task)
        if truncation is not None:
            truncation.add(task, data, table.name, [row.line for row in window.rows], window.own)
        vectors = predictor.embed_tokens(data, task)
        if normalise:
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        out.write(window.own_rows, vectors[window.own])
        done += len(window.own_rows)
        yield done
