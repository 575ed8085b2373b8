import decimal
import gzip
import io
import json
import random

import pytest

from mbert_cli.data.table import Table
from mbert_cli.errors import DataError

ROWS = [["id", "text"], *[[str(i), f"some words {i}"] for i in range(50)]]
TEXTS = {
    "t.tsv": "\n".join("\t".join(row) for row in ROWS) + "\n",
    "t.csv": "\n".join(",".join(row) for row in ROWS) + "\n",
    "t.jsonl": "\n".join(json.dumps({"id": number, "text": text}) for number, text in ROWS[1:]) + "\n",
}


def read(path, **options):
    with Table(str(path), **options) as table:
        return [table.header, *[row.cells for row in table]]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ending", [".gz", ""])
def test_compressed_files_are_recognised_by_their_first_bytes(tmp_path, name, ending):
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(gzip.compress(TEXTS[name].encode()))
    assert read(path) == ROWS
    with Table(str(path)) as table:
        assert ", gzip; columns id, text" in table.description


def test_all_members_of_a_gzip_file_are_read(tmp_path):
    path = tmp_path / "t.tsv.gz"
    text = TEXTS["t.tsv"].encode()
    path.write_bytes(gzip.compress(text[:200]) + gzip.compress(text[200:]))
    assert read(path) == ROWS


def test_a_compressed_stream_is_read_from_standard_input(monkeypatch):
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(TEXTS["t.jsonl"].encode()))))
    monkeypatch.setattr("sys.stdin", stream)
    assert read("-") == ROWS


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: data[:60] + b"\xff\x00\xff" + data[63:], lambda data: data[:2]]
)
def test_damaged_compression_is_reported_with_its_line(tmp_path, damage):
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(damage(gzip.compress(TEXTS["t.tsv"].encode())))
    with pytest.raises(DataError, match=r"t\.tsv\.gz:\d+: is damaged or cut off here \(.*\); compress it again\."):
        read(path)


def test_a_highly_compressed_file_is_read_line_by_line(tmp_path):
    path = tmp_path / "bomb.tsv.gz"
    path.write_bytes(gzip.compress(b"text\n" + b"x" * (1 << 27)))
    with pytest.raises(DataError, match="bomb.tsv.gz:2: is longer than 64 MiB"):
        read(path)


def bz2(data):
    return __import__("bz2").compress(data)


def xz(data):
    return __import__("lzma").compress(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bz2(b"text\ncat\n"), "is compressed with bzip2; unpack it, or compress it with gzip."),
        (xz(b"text\ncat\n"), "is compressed with xz; unpack it, or compress it with gzip."),
        (b"PK\x03\x04\x14\0\n", "is a ZIP archive, such as an .xlsx file; unpack it, or save the sheet as CSV."),
        (b"\xd0\xcf\x11\xe0\n", "is an Excel file; save the sheet as CSV."),
        (b"ARROW1\0\0\n", "is an Arrow or Feather file; save it as Parquet."),
        (gzip.compress(gzip.compress(b"text\ncat\n", mtime=0), mtime=0), "is compressed twice; unpack it once."),
        (gzip.compress(b"PAR1\0", mtime=0), "is Parquet inside gzip; unpack it; Parquet is already compressed."),
        (b'[{"text": "cat"}]', "1: starts a JSON array; write one object per line (JSON Lines)."),
        (
            b'{\n  "text": "cat"\n}',
            "1: starts a JSON object that spans several lines; write one object per line (JSON Lines).",
        ),
        (b'\n[\n{"text": "cat"}\n]', "2: starts a JSON array; write one object per line (JSON Lines)."),
    ],
)
def test_a_file_in_a_known_binary_format_is_refused_with_the_name_of_the_format(tmp_path, content, message):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(DataError) as refusal:
        read(tmp_path / "t.txt")
    assert str(refusal.value) in (f"{tmp_path}/t.txt: {message}", f"{tmp_path}/t.txt:{message}")


def test_a_header_may_begin_with_a_bracket_or_brace(tmp_path):
    (tmp_path / "t.csv").write_text("[text],[label]\ncat,1\n")
    assert read(tmp_path / "t.csv") == [["[text]", "[label]"], ["cat", "1"]]
    for header in ("{text}", "[{", "[", "{"):
        (tmp_path / "t.csv").write_text(f"{header},label\ncat,1\n")
        assert read(tmp_path / "t.csv") == [[header, "label"], ["cat", "1"]]


@pytest.mark.parametrize("name", ["t.json", "t.ndjson", "t.txt.gz"])
def test_json_lines_are_recognised_by_their_first_brace(tmp_path, name):
    (tmp_path / name).write_text(TEXTS["t.jsonl"])
    assert read(tmp_path / name) == ROWS
    with Table(str(tmp_path / name)) as table:
        assert table.description.endswith(": JSONL; columns id, text")


def test_a_semicolon_is_the_delimiter_if_the_header_has_neither_tab_nor_comma(tmp_path):
    (tmp_path / "t.csv").write_text('id;text\n1;"a; b"\n2;a, b\n')
    assert read(tmp_path / "t.csv") == [["id", "text"], ["1", "a; b"], ["2", "a, b"]]
    with Table(str(tmp_path / "t.csv")) as table:
        assert table.description.endswith(": CSV with semicolons; columns id, text")
    (tmp_path / "t.csv").write_text("id;text\n1;a\n")
    assert read(tmp_path / "t.csv", delimiter="tab") == [["id;text"], ["1;a"]]
    (tmp_path / "t.csv").write_text("id,te;xt\n1,a;b\n")
    assert read(tmp_path / "t.csv") == [["id", "te;xt"], ["1", "a;b"]]


def parquet(path, columns):
    pyarrow = pytest.importorskip("pyarrow")
    write_table = pytest.importorskip("pyarrow.parquet").write_table

    write_table(pyarrow.table(columns), path, row_group_size=7)


def test_parquet_files_are_read_as_tables(tmp_path):
    parquet(tmp_path / "t.parquet", {"id": list(range(50)), "text": [row[1] for row in ROWS[1:]]})
    assert read(tmp_path / "t.parquet") == ROWS
    with Table(str(tmp_path / "t.parquet")) as table:
        assert table.description.endswith("t.parquet: Parquet; columns id, text")


def test_values_of_parquet_files_are_read_as_json(tmp_path):
    values = {"a": [1.5, None], "b": [True, False], "c": ["x", None], "d": [[1, 2], []], "e": [2, 3]}
    parquet(tmp_path / "t.parquet", values)
    assert read(tmp_path / "t.parquet") == [["a", "b", "c", "d", "e"], ["1.5", "true", "x", "[1, 2]", "2"],
                                            ["", "false", "", "[]", "3"]]  # fmt: skip


def test_dates_decimals_and_bytes_of_parquet_files_are_read_as_plain_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    columns = {
        "date": pyarrow.array([18263, None], pyarrow.date32()),
        "time": pyarrow.array(
            [1_577_934_245_000_000_001, 0], pyarrow.timestamp("ns")
        ),  # nanoseconds, which Python datetimes lack
        "price": pyarrow.array([decimal.Decimal("1.50"), decimal.Decimal(2)], pyarrow.decimal128(5, 2)),
        "bytes": pyarrow.array(["é".encode(), b"\xff"]),
        "kind": pyarrow.array(["x", None]).dictionary_encode(),
        "none": pyarrow.nulls(2),
    }
    parquet(tmp_path / "t.parquet", columns)
    assert read(tmp_path / "t.parquet")[1:] == [
        ["2020-01-02", "2020-01-02 03:04:05.000000001", "1.50", "é", "x", ""],
        ["", "1970-01-01 00:00:00.000000000", "2.00", "\\xff", "", ""],
    ]


def test_a_row_group_is_not_read_into_memory_as_a_whole(tmp_path):
    from mbert_cli.data.parquet import open_parquet

    class Watched(io.BufferedReader):
        most = 0

        def read(self, size=-1, /):
            data = super().read(size)
            self.most = max(self.most, len(data))
            return data

    pyarrow = pytest.importorskip("pyarrow")
    rng = random.Random(0)
    texts = [rng.randbytes(256).hex() for _ in range(20_000)]
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"text": texts}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size > 4 << 20
    with Watched(io.FileIO(tmp_path / "t.parquet")) as file:
        assert [cells[0] for cells, _ in open_parquet(file, "t").rows()] == texts
        assert 0 < file.most <= 2 << 20


def test_rows_of_parquet_files_are_numbered_from_one(tmp_path):
    parquet(tmp_path / "t.parquet", {"text": ["cat"] * 9})
    with Table(str(tmp_path / "t.parquet")) as table:
        assert [row.line for row in table] == list(range(1, 10))


def test_parquet_is_not_read_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"PAR1..."))))
    with pytest.raises(DataError, match="standard input: is Parquet, which can only be read from a file; name the fi"):
        read("-")


def test_a_damaged_parquet_file_is_reported(tmp_path):
    parquet(tmp_path / "t.parquet", {"id": [1]})
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"t\.parquet: cannot be read as Parquet"):
        read(tmp_path / "t.parquet")


def test_without_pyarrow_the_message_has_the_command_to_install_it(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1....")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(Exception, match=r"pip install 'mbert-cli\[parquet\]'"):
        read(tmp_path / "t.parquet")


def test_a_column_is_found_under_its_alternative_name(tmp_path):
    (tmp_path / "a.tsv").write_text("review\ttext\nx\ty\n")
    (tmp_path / "b.tsv").write_text("review\tid\nx\ty\n")
    for name, column in (("a.tsv", 1), ("b.tsv", 0)):
        with Table(str(tmp_path / name), names={"text": "review"}) as table:
            assert table.column("text") == column
            assert table.has("text")
            assert not table.has("label")
    with (
        Table(str(tmp_path / "b.tsv"), names={"text": "reviews"}) as table,
        pytest.raises(DataError, match="has no column 'reviews'; did you mean 'review'"),
    ):
        table.column("text")
