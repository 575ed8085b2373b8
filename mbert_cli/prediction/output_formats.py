"""The output formats of `mbert predict`, a class for each. A new format is a new class and a line in `output_format`.

A class contains everything in which its format differs from the others: the outputs, inputs and tasks that it accepts,
whether an interrupted file can be continued, and the object that writes the rows.

Must not import torch: fast start-up.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mbert_cli.errors import UsageError

if TYPE_CHECKING:
    from mbert_cli.data.parquet_output import ParquetSink
    from mbert_cli.data.table import Table
    from mbert_cli.data.table_writer import RowWriter, TextSink
    from mbert_cli.prediction.predictor import Predictor
    from mbert_cli.storage.resumable_output import PartialOutput, Stream

FormatName = Literal["same", "cs224n"]
"""The values of --format. For `same`, the name of the output chooses the format."""
FORMAT_HELP = "Output format: same (by the name of OUTPUT), or cs224n (the course's submission format)."


class OutputFormat(ABC):
    """The format of one output.

    Args:
        output: name of the output file; `-` for standard output.
    """

    why_not_resumable = ""
    """Why an interrupted file cannot be continued; empty if it can."""

    def __init__(self, output: str) -> None:
        self.output = output

    def check_output(self) -> None:  # noqa: B027 (by default, everything is accepted)
        """Check, before the input is opened, that the output can have this format.

        Raises:
            UsageError: it cannot.
        """

    def check_input(self, table: "Table") -> None:  # noqa: B027 (by default, everything is accepted)
        """Check, before the model is loaded, that the input can be written in this format.

        Raises:
            UsageError: it cannot.
        """

    def ending(self, table: "Table") -> str:
        """Return the ending of a file in this format, such as `.tsv.gz`; "" if there is no usual one."""
        from mbert_cli.data.text_output import ending_of

        return ending_of(self.output)

    def check_tasks(self, tasks: Sequence[str]) -> None:  # noqa: B027 (by default, everything is accepted)
        """Check that the predictions of these tasks fit into one output.

        Raises:
            UsageError: they do not.
        """

    def advice(self, table: "Table") -> str:
        """Return what readers of the output need to know, as the end of a message; often empty."""
        return ""

    def sink(self, out: "PartialOutput | Stream") -> "AbstractContextManager[PartialOutput | Stream | ParquetSink]":
        """Return what the writer of this format writes to: the open output, or an object that encodes rows for it."""
        return nullcontext(out)

    @abstractmethod
    def writer(
        self,
        out: "TextSink | ParquetSink",
        predictor: "Predictor",
        table: "Table",
        tasks: Sequence[str],
        kept: Sequence[str] | None = None,
    ) -> "RowWriter":
        """Return the object that writes rows and their predictions.

        Args:
            out: what it writes to; see `sink`.
            predictor: the model.
            table: the input.
            tasks: the tasks that are predicted.
            kept: the columns of the input that are written; None for all.

        Raises:
            DataError: a column is missing, or a prediction has the name of a column.
            UsageError: this format is not for these tasks.
        """


class TextTable(OutputFormat):
    """The input's columns and the predictions, as TSV, CSV or JSON Lines."""

    def check_input(self, table: "Table") -> None:
        """Check that the name of the output has the extension of a text format."""
        from mbert_cli.data.text_output import text_format

        text_format(table, self.output)

    def advice(self, table: "Table") -> str:
        """Return how pandas reads the output if its quotes are plain text."""
        from mbert_cli.data.text_output import text_format

        format_ = text_format(table, self.output)
        if format_.quoting == "csv" or format_.delimiter is None:
            return ""
        return f"quotes are plain text, as in the input; pandas reads it with sep={format_.delimiter!r}, quoting=3."

    def ending(self, table: "Table") -> str:
        """Return the ending of the output, or the usual one of the input's format."""
        from mbert_cli.data.text_output import text_format, usual_ending

        return super().ending(table) or usual_ending(text_format(table, self.output))

    def writer(
        self,
        out: "TextSink | ParquetSink",
        predictor: "Predictor",
        table: "Table",
        tasks: Sequence[str],
        kept: Sequence[str] | None = None,
    ) -> "RowWriter":
        """Return a `TableWriter`."""
        from mbert_cli.data.table_writer import TableWriter, TextSink
        from mbert_cli.data.text_output import text_format
        from mbert_cli.prediction.predict_table import appended_columns

        assert isinstance(out, TextSink)
        appended = appended_columns(predictor, table, tasks, kept)
        return TableWriter(out, table, list(appended), kept, text_format(table, self.output))


class ParquetTable(OutputFormat):
    """The input's columns and the predictions, as Parquet. Only a complete Parquet file is readable."""

    why_not_resumable = "Parquet cannot be resumed"

    def check_output(self) -> None:
        """Check that pyarrow is installed."""
        from mbert_cli.data.parquet_output import check_pyarrow

        check_pyarrow(Path(self.output))

    def sink(self, out: "PartialOutput | Stream") -> "AbstractContextManager[ParquetSink]":
        """Return a `ParquetSink`, which writes the index of the file when it is closed."""
        from mbert_cli.data.parquet_output import ParquetSink

        return closing(ParquetSink(out.write_bytes))

    def writer(
        self,
        out: "TextSink | ParquetSink",
        predictor: "Predictor",
        table: "Table",
        tasks: Sequence[str],
        kept: Sequence[str] | None = None,
    ) -> "RowWriter":
        """Return the `ParquetSink`."""
        from mbert_cli.data.parquet_output import ParquetSink
        from mbert_cli.prediction.predict_table import appended_columns

        assert isinstance(out, ParquetSink)
        return out.begin(table, appended_columns(predictor, table, tasks, kept), kept)


class CourseSubmission(OutputFormat):
    """The submission file of the CS 224N course: `--format cs224n`."""

    def check_output(self) -> None:
        """Check that the output is a text file."""
        if _is_parquet(self.output):
            raise UsageError(f"{self.output}: --format cs224n is text; choose another name.")

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Check that there is only one task."""
        if len(tasks) != 1:
            raise UsageError(
                f"--format cs224n has one task; choose it with -t. Tasks of this file: {', '.join(tasks)}."
            )

    def writer(
        self,
        out: "TextSink | ParquetSink",
        predictor: "Predictor",
        table: "Table",
        tasks: Sequence[str],
        kept: Sequence[str] | None = None,
    ) -> "RowWriter":
        """Return a `SubmissionWriter`."""
        from mbert_cli.data.table_writer import TextSink
        from mbert_cli.prediction.cs224n import SubmissionWriter

        assert isinstance(out, TextSink)
        return SubmissionWriter(out, predictor, table, tasks[0])


def output_format(name: FormatName, output: str) -> OutputFormat:
    """Return the format of an output.

    Args:
        name: the value of --format.
        output: name of the output file; `-` for standard output.
    """
    if name == "cs224n":
        return CourseSubmission(output)
    return ParquetTable(output) if _is_parquet(output) else TextTable(output)


def kept_columns(keep: str | None, name: FormatName) -> list[str] | None:
    """Return the columns of the input that are written; None for all.

    Args:
        keep: the value of --keep: names with commas between them, or `none`.
        name: the value of --format.

    Raises:
        UsageError: the format has fixed columns.
    """
    if keep is None:
        return None
    if name != "same":
        raise UsageError(f"--keep and --format {name} cannot be used together: that format has fixed columns.")
    columns = [each.strip() for each in keep.split(",") if each.strip()]
    return [] if columns == ["none"] else columns


def _is_parquet(output: str) -> bool:
    from mbert_cli.data.parquet_output import is_parquet

    return is_parquet(Path(output))
