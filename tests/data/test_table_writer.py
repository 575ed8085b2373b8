import io
import json

import pytest
from table_files import rfc4180, written

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.errors import DataError


@pytest.mark.parametrize(
    "rows",
    [
        [["x", "y"]],
        [["a\tb", 'say "no"']],
        [["two\nlines", ""]],
        [["a\u2028b", " "]],
        [["é", "'"], ["1", "2"]],
        [["", ""]],
    ],
)
def test_written_rows_read_back_the_same(write, rows):
    quoted = "\n".join("\t".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    text = written(write(f"a\tb\n{quoted}\n"), ["pred", "score"], ["yes", 0.25])
    assert rfc4180(text, "\t") == [["a", "b", "pred", "score"], *([*row, "yes", "0.25"] for row in rows)]


def test_without_quoting_cells_are_written_unchanged(write):
    assert written(write('a\tb\n"x\t""\n'), ["pred"], ["1"], quoting="none") == 'a\tb\tpred\n"x\t""\t1\n'


def test_jsonl_rows_keep_their_values(write):
    text = written(write('{"a": "é", "b": [1, null]}\n', "t.jsonl"), ["pred", "score"], ["yes", 0.5])
    assert json.loads(text) == {"a": "é", "b": [1, None], "pred": "yes", "score": 0.5}


def test_a_prediction_never_replaces_a_value_of_a_jsonl_object(write):
    path = write('{"a": 1}\n{"a": 2, "pred": "mine"}\n', "t.jsonl")
    with pytest.raises(
        DataError, match=r"t\.jsonl:2: already has names that the prediction would add \(pred\); rename them"
    ):
        written(path, ["pred"], ["yes"])


def test_numbers_are_written_with_six_significant_digits(write):
    out = io.StringIO()
    with Table(write("a,b\n")) as table:
        writer = TableWriter(out, table, ["x", "y"])
        writer.write_header()
        writer.write(Row(2, ["1", "2"]), [1 / 3, 12345678.0])
    assert out.getvalue().splitlines()[1] == "1,2,0.333333,1.23457e+07"
