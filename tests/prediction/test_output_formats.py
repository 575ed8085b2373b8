from typing import get_args

import pytest

from mbert_cli.errors import UsageError
from mbert_cli.prediction.output_formats import (
    FORMAT_HELP,
    CourseSubmission,
    FormatName,
    ParquetTable,
    TextTable,
    kept_columns,
    output_format,
)


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("same", "-", TextTable),
        ("same", "out/a.csv.gz", TextTable),
        ("same", "out/a.parquet", ParquetTable),
        ("same", "A.PARQUET", ParquetTable),
        ("cs224n", "a.csv", CourseSubmission),
        ("cs224n", "a.parquet", CourseSubmission),
    ],
)
def test_the_option_and_the_name_of_the_output_choose_the_format(name, output, expected):
    assert type(output_format(name, output)) is expected


def test_the_help_lists_every_format():
    assert all(f"{name} (" in FORMAT_HELP for name in get_args(FormatName))


@pytest.mark.parametrize(
    ("keep", "columns"), [(None, None), ("id, text", ["id", "text"]), ("none", []), ("none,id", ["none", "id"])]
)
def test_columns_to_keep_are_separated_by_commas(keep, columns):
    assert kept_columns(keep, "same") == columns


def test_formats_with_fixed_columns_keep_no_others():
    assert kept_columns(None, "cs224n") is None
    with pytest.raises(UsageError, match="--keep and --format cs224n cannot be used together"):
        kept_columns("id", "cs224n")
