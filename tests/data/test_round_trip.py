"""All cells read back from all output formats, with mbert and with independent readers."""

import csv
import io
import json
from pathlib import Path

import pandas
import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import mbert_cli
from mbert_cli.data.parquet_output import ParquetSink
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.data.text_output import text_format
from mbert_cli.errors import DataError, UsageError
from mbert_cli.reports.evaluation_folder import write_table

SIGNS = [
    '"',
    "\t",
    ",",
    ";",
    "|",
    "\n",
    "\r",
    "\r\n",
    " ",
    "'",
    "\\",
    "a",
    "é",
    "\u2028",
    "\x85",
    "\ufeff",
    "{",
    "[",
    "#",
]
CELLS = st.lists(st.sampled_from(SIGNS) | st.characters(codec="utf-8"), max_size=6).map("".join)
NAMES = st.lists(st.sampled_from([*SIGNS[:-2], "b"]), min_size=1, max_size=4).map("".join).filter(str.strip)


@st.composite
def tables(draw, cells=CELLS):
    width = draw(st.integers(1, 3))
    header = draw(st.lists(NAMES, min_size=width, max_size=width, unique=True))
    return header, draw(st.lists(st.lists(cells, min_size=width, max_size=width), max_size=4))


def as_jsonl(path: Path, header: list[str], rows: list[list[str]]) -> str:
    """Return rows as JSON Lines, the input of a test; the first object sets the order of the names."""
    path.write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def written(folder: Path, name: str, header: list[str], rows: list[list[str]], **reading) -> Path:
    """Write at least one row to an output with a name."""
    source = as_jsonl(folder / "source.jsonl", header, rows)
    out = folder / name
    with Table(source, **reading) as table, out.open("wb") as file:
        if name.endswith(".parquet"):
            sink = ParquetSink(file.write)
            writer = sink.begin(table, {})
            for row in table:
                writer.write(row, [])
            sink.commit(len(rows))
            sink.close()
        else:
            text = io.StringIO(newline="")
            writer = TableWriter(text, table, [], format_=text_format(table, name))
            writer.write_header()
            for row in table:
                writer.write(row, [])
            file.write(text.getvalue().encode())
    return out


def read(path: Path, **reading):
    with Table(str(path), **reading) as table:
        return table.header, [row.cells for row in table]


def read_by_python(path: Path, delimiter: str) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter, strict=True))


def read_by_pandas(path: Path, delimiter: str) -> list[list[str]]:
    frame = pandas.read_csv(path, sep=delimiter, header=None, dtype=str, keep_default_na=False, na_filter=False)
    return frame.to_numpy().tolist()


anything = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
@anything
@given(tables().filter(lambda table: table[1]))
@example((["text"], [["one\rtwo"], [""], ["a\nb"], ["\r"]]))
@example((["text", "label"], [["Hi,\nBob", "a"], ["a\tb\nc", "d"], ["", ""]]))
@example((["a\tb", "c"], [["1", "2"]]))
@example((["a,b"], [["1"], ["x\ty"]]))
@example((["a\n,b", "c"], [["1", "2"]]))
@example((["{a", "\ufeffb"], [["1", "2"]]))
def test_all_cells_of_a_text_output_read_back_with_mbert_and_with_python(tmp_path, name, table):
    header, rows = table
    delimiter = "\t" if name == "t.tsv" else ","
    if any("\0" in cell for row in rows for cell in row):
        with pytest.raises(
            DataError, match=r"source.jsonl:\d+: a cell contains a NUL byte.*; write .jsonl or .parquet\.$"
        ):
            written(tmp_path, name, header, rows)
        return
    path = written(tmp_path, name, header, rows)
    # In a list of texts, only the caller knows whether a quoted cell may have several lines.
    assert read(path, quoting="csv" if len(header) == 1 else "auto") == (header, rows)
    assert read_by_python(path, delimiter) == [header, *rows]


@pytest.mark.parametrize(("name", "delimiter"), [("t.tsv", "\t"), ("t.csv", ",")])
@anything
@given(tables().filter(lambda table: table[1] and "\\x00" not in repr(table)))
def test_pandas_reads_the_same_cells(tmp_path, name, delimiter, table):
    path = written(tmp_path, name, *table)
    assert read_by_pandas(path, delimiter) == [table[0], *table[1]]


@pytest.mark.parametrize("delimiter", ["tab", "comma", "semicolon", "pipe"])
@anything
@given(tables().filter(lambda table: table[1] and "\\x00" not in repr(table)))
def test_an_output_that_is_neither_csv_nor_tsv_has_the_delimiter_of_its_input(tmp_path, delimiter, table):
    header, rows = table
    sign = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}[delimiter]
    source, out = tmp_path / "source.csv", tmp_path / "out.txt"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=sign, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    with Table(str(source), "csv", delimiter) as each, out.open("w", encoding="utf-8", newline="") as file:
        writer = TableWriter(file, each, [], format_=text_format(each, "out.txt"))
        writer.write_header()
        for row in each:
            writer.write(row, [])
    assert read_by_python(out, sign) == [header, *rows]
    quoting = "csv" if len(header) == 1 else "auto"
    assert read(out, quoting=quoting, delimiter=delimiter) == (header, rows)
    if delimiter != "pipe":
        assert read(out, quoting=quoting) == (header, rows)


@anything
@given(tables().filter(lambda table: table[1]))
def test_all_cells_of_jsonl_and_parquet_outputs_read_back(tmp_path, table):
    for name in ("t.jsonl", "t.parquet"):
        path = written(tmp_path, name, *table)
        assert read(path) == table
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [list(json.loads(line).values()) for line in lines] == table[1]


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
@anything
@given(tables().filter(lambda table: table[1]))
@example((["a"], [[""], ["x"], [""]]))
@example((["a", "b"], [["x\ty", "z"], ["u,v", "w"]]))
def test_without_quoting_a_cell_reads_back_or_is_refused_with_its_row(tmp_path, name, table):
    header, rows = table
    if not header[0][0].isalnum():
        header = ["a" + header[0], *header[1:]]  # without quotes, the first character must not suggest another format
    try:
        path = written(tmp_path, name, header, rows, quoting="none")
    except DataError as error:
        assert "source.jsonl:" in str(error)  # noqa: PT017
        assert "write .jsonl or .parquet" in str(error)  # noqa: PT017
        assert any(sign in cell for row in [header, *rows] for cell in row for sign in "\t,;\n\r\0")
    else:
        assert read(path, quoting="none") == (header, rows)


@pytest.mark.parametrize("cell", ["a\tb", "a\nb", "a\rb"])
def test_a_cell_that_needs_quotes_is_reported_if_there_is_no_quoting(tmp_path, cell):
    with pytest.raises(DataError) as refusal:
        written(tmp_path, "t.tsv", ["x", "y"], [["1", "2"], ["3", cell]], quoting="none")
    assert str(refusal.value).endswith(
        f"source.jsonl:2: the cell {cell!r} contains a delimiter or a line end, which cannot be written without "
        "quotes; write .jsonl or .parquet, or read the input with --quoting csv."
    )


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("o.json", ".json files are not written; end the name in .jsonl (one object per line)."),
        ("o.xlsx", ".xlsx files are not written; end the name in .csv."),
        ("o.feather", ".feather files are not written; end the name in .parquet."),
        ("o.parquet.gz", ".parquet.gz files are not written; end the name in .parquet."),
        ("o.tsv.zst", ".zst files are not written; end the name in .gz."),
    ],
)
def test_an_unsupported_output_format_is_refused(tmp_path, name, remedy):
    (tmp_path / "t.tsv").write_text("a\tb\n")
    with Table(str(tmp_path / "t.tsv")) as table, pytest.raises(UsageError) as refusal:
        text_format(table, name)
    assert str(refusal.value) == f"{name}: {remedy}"


@pytest.mark.parametrize(
    ("source", "header", "output", "expected"),
    [
        ("t.tsv", "a\tb", "o.csv", ","),
        ("t.csv", "a,b", "o.tsv", "\t"),
        ("t.csv", "a,b", "o.csv.gz", ","),
        ("t.csv", "a;b", "o.csv", ","),
        ("t.csv.gz", "a\tb", "o.CSV", ","),
        ("t.tsv", "a,b", "o.tsv", "\t"),
        ("t.txt", "a;b", "o.csv", ","),
        ("t.txt", "a;b", "o.txt", ";"),
        ("t.txt", "a;b", "o", ";"),
        ("t.csv", "a;b", "-", ";"),
        ("t.tsv", "a\tb", "o.jsonl", None),
        ("t.tsv", "a\tb", "o.ndjson.gz", None),
        ("t.jsonl", '{"a": 1}', "o.txt", None),
        ("t.json", '{"a": 1}', "o.json", None),
        ("t.jsonl", '{"a": 1}', "o.tsv", "\t"),
    ],
)
def test_the_format_of_an_output_follows_its_name(tmp_path, source, header, output, expected):
    (tmp_path / source).write_text(f"{header}\n")
    with Table(str(tmp_path / source)) as table:
        assert text_format(table, output).delimiter == expected


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [("t.txt", "o.tsv", "none"), ("t.txt", "o.csv", "csv"), ("t.txt", "o.txt", "none"), ("t.txt", "-", "none")],
)
def test_quotes_are_not_escaped_if_the_delimiter_stays_the_same(tmp_path, source, output, expected):
    (tmp_path / source).write_text("a\tb\n")
    with Table(str(tmp_path / source), "none") as table:
        assert text_format(table, output).quoting == expected


def test_values_of_parquet_keep_their_type_in_jsonl(tmp_path):
    columns = {"text": ["a", None, "1"], "n": [1, None, 3], "x": [0.5, 1e300, None], "l": [[1, 2], None, []]}
    parquet.write_table(pyarrow.table({**columns, "yes": [True, False, None]}), tmp_path / "t.parquet")
    out = io.StringIO()
    with Table(str(tmp_path / "t.parquet")) as table:
        writer = TableWriter(out, table, ["pred"], format_=text_format(table, "o.jsonl"))
        for row in table:
            writer.write(row, ["p"])
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"text": "a", "n": 1, "x": 0.5, "l": [1, 2], "yes": True, "pred": "p"},
        {"text": None, "n": None, "x": 1e300, "l": None, "yes": False, "pred": "p"},
        {"text": "1", "n": 3, "x": None, "l": [], "yes": None, "pred": "p"},
    ]


@pytest.mark.parametrize("name", ["o.tsv", "o.parquet"])
def test_an_object_with_a_name_that_has_no_column_is_refused(tmp_path, name):
    objects = [{"a": "1"}] * 1000 + [{"a": "2", "late": "x"}]
    (tmp_path / "source.jsonl").write_text("".join(json.dumps(each) + "\n" for each in objects))
    sink = ParquetSink(io.BytesIO().write)
    with Table(str(tmp_path / "source.jsonl")) as table:
        text = TableWriter(io.StringIO(), table, [], format_=text_format(table, name))
        writer = sink.begin(table, {}) if name == "o.parquet" else text
        *first, last = table
        for row in first:
            writer.write(row, [])
        with pytest.raises(DataError, match="source.jsonl:1001: has 'late', which none of the first objects has"):
            writer.write(last, [])
    sink.close()


def test_all_modules_write_lines_with_the_same_function():
    package = Path(mbert_cli.__file__).parent
    assert not [
        path.name for path in package.rglob("*.py") if "csv.writer" in path.read_text().replace("`csv.writer`", "")
    ]


@anything
@given(tables())
def test_all_cells_of_an_evaluation_read_back(tmp_path, table):
    write_table(tmp_path / "t.tsv", *table)
    assert read_by_python(tmp_path / "t.tsv", "\t") == [table[0], *table[1]]
