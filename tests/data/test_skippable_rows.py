"""Rows that are skipped: the rows after them are those of a table that was read from its beginning."""

import gzip
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbert_cli.data.source import Lines
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError

LINES = [
    b"cat\tdog",
    b"cat",  # a bad row in a table with two columns
    b"",
    b"  ",
    b"\xe3\x80\x80",  # a space that only str.strip removes
    b"a\xffb\tc",
    b"nul\0\tx",
    b'"one\ttwo',
    b'say "hi"\tyes',
    b'"a ""b"" c\td',
    b'x\t"y"',
    b"x\r\ty",
    b"z\tz\r",
    b"\r",
    b'{"text": "cat", "other": 1}',
    b'{"text": 7}',
    b"[1]",
    b"{not json",
]


def read_after(path, skipped, **settings):
    """Skip rows, and return their number and the next rows, as far as they can be read."""
    with Table(str(path), **settings) as table:
        table.text_column("text")
        count = table.skip(skipped)
        rows = [(row.line, row.cells, row.record, row.problem) for row in table.all_rows()]
        return count, rows, table.warnings


@pytest.mark.parametrize(
    ("name", "header", "reading"),
    [
        ("t.tsv", b"text\tother\n", {}),
        ("t.tsv", b"text\tother\r\n", {"quoting": "csv"}),
        ("t.tsv", b"\n\ntext\tother\n", {"quoting": "none"}),
        ("t.tsv", b"text\n", {}),
        ("t.tsv", b"text\n", {"quoting": "none"}),
        ("t.tsv", b'"text"\t"ot\nher"\n', {}),
        ("t.jsonl", b'{"text": "a"}\n', {}),
        ("t.tsv.gz", b"text\tother\n", {}),
    ],
)
@settings(max_examples=30)
@given(
    lines=st.lists(st.sampled_from(LINES), max_size=12), end=st.sampled_from([b"", b"\n"]), skipped=st.integers(0, 14)
)
def test_the_rows_after_skipped_ones_do_not_change(name, header, reading, lines, end, skipped, tmp_path_factory):
    path = tmp_path_factory.mktemp("skipped") / name
    data = header + b"\n".join(lines) + end
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    _, whole, warnings = read_after(path, 0, **reading)
    count, rows, other = read_after(path, skipped, **reading)
    assert count == min(skipped, len(whole))
    assert rows == whole[count:]
    assert other == warnings
    assert read_after(path, 1000, **reading)[:2] == (len(whole), [])


def test_objects_that_give_a_jsonl_file_its_header_can_be_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr("mbert_cli.data.json_rows._AHEAD", 3)
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"text": "{number}"}}\n\n' for number in range(9)))
    for skipped in range(11):
        count, rows, _ = read_after(path, skipped)
        assert count == min(skipped, 9)
        assert [(line, cells) for line, cells, *_ in rows] == [(2 * k + 1, [str(k)]) for k in range(skipped, 9)]


def test_rows_can_be_skipped_between_rows_that_are_read(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("text\n" + "".join(f"{number}\n" for number in range(1, 31)))
    with Table(str(path)) as table:
        first = [row.cells for row in islice(table, 2)]
        assert table.skip(5) == 5
        second = [row.line for row in islice(table, 3)]
        assert table.skip(100) == 20
        assert list(table) == []
    assert (first, second) == ([["1"], ["2"]], [9, 10, 11])


@pytest.mark.parametrize("quoting", ["auto", "csv", "none"])
def test_lines_without_quotes_are_skipped_without_being_decoded(tmp_path, quoting, monkeypatch):
    path = tmp_path / "t.tsv"
    path.write_text("text\tother\n" + "cat\tdog\n" * 100 + "end\tend\n")
    decoded, decode = [], Lines._decoded
    monkeypatch.setattr(Lines, "_decoded", lambda *arguments: decoded.append(arguments) or decode(*arguments))
    with Table(str(path), quoting) as table:
        table.skip(100)
        assert [row.line for row in table] == [102]
    assert len(decoded) == 2


def test_the_byte_of_a_line_after_skipped_ones_is_that_of_the_file(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"text\n" + b"cat\n" * 100 + b"ab\xff\n")
    with Table(str(path)) as table:
        table.skip(100)
        with pytest.raises(DataError, match=r"t.tsv:102: is not UTF-8 \(byte 407 of the file\)"):
            list(table)


def test_damage_is_reported_while_rows_are_skipped(tmp_path):
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b"text\n" + b"cat\n" * 100)[:-9])
    with Table(str(path)) as table, pytest.raises(DataError, match=r"t.tsv.gz:\d+: is damaged or cut off here"):
        table.skip(1000)


@pytest.mark.parametrize("group", [3, 7, 100])
def test_rows_of_a_parquet_file_can_be_skipped(tmp_path, group, monkeypatch):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("mbert_cli.data.parquet._AT_ONCE", 4)
    path = tmp_path / "t.parquet"
    table = pyarrow.table({"text": [f"t{number}" for number in range(23)], "number": range(23)})
    parquet.write_table(table, path, row_group_size=group)
    for skipped in (0, 1, 3, 4, 6, 7, 22, 23, 24):
        with Table(str(path)) as rows:
            assert rows.skip(skipped) == min(skipped, 23)
            left = list(rows)
        assert [(row.line, row.cells) for row in left] == [
            (number + 1, [f"t{number}", str(number)]) for number in range(skipped, 23)
        ]
        for row in left:
            batch, index = row.place
            assert batch.column(0)[index].as_py() == row.cells[0]
