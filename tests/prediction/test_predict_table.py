import gzip
import json

import pandas
import pytest

from mbert_cli.cli import app
from mbert_cli.data.table import Table
from mbert_cli.errors import MbertError

FLAGS = ("--precision", "fp32", "--device", "cpu", "-q")


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("predict")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", *FLAGS[2:]], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tsv").write_text("id\ttext\tnote\n1\tcat dog\tx\n2\tman runs great\ty\n")
    (tmp_path / "b.tsv").write_text("text\nbird\n")
    return tmp_path


def predict(run, *words):
    app(["predict", str(run), *map(str, words), "-t", "mood", *FLAGS], standalone_mode=False)


def rows(path):
    with Table(str(path)) as table:
        return [table.header, *[row.cells for row in table]]


def test_several_inputs_have_outputs_with_their_names(run, here):
    predict(run, "a.tsv", "b.tsv", "-o", "out")
    for name in ("a.tsv", "b.tsv"):
        predict(run, name, "-o", f"alone-{name}")
        assert (here / "out" / name).read_bytes() == (here / f"alone-{name}").read_bytes()


def test_outputs_have_no_byte_order_mark_and_end_lines_in_lf(run, here):
    """As pandas, csvkit and xsv write tables."""
    (here / "windows.csv").write_bytes(b'\xef\xbb\xbfid,text\r\n1,"a cat,\r\nna\xc3\xafve"\r\n2,bird\r\n')
    predict(run, "windows.csv", "-o", "out.csv")
    written = (here / "out.csv").read_bytes()
    assert written.startswith(b"id,text,pred,")
    assert written.count(b"\n") == 4
    assert written.count(b"\r\n") == 1
    assert rows("out.csv")[1][:2] == ["1", "a cat,\r\nna\u00efve"]
    assert (
        pandas.read_csv(here / "out.csv")["text"].to_list() == pandas.read_csv(here / "windows.csv")["text"].to_list()
    )
    (here / "windows.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a cat"}\r\n{"text": "bird"}\r\n')
    predict(run, "windows.jsonl", "-o", "out.jsonl")
    lines = (here / "out.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["text"] for line in lines[:2]] == ["a cat", "bird"]
    assert lines[2:] == [b""]
    assert b"\r" not in lines[0]
    assert lines[0].startswith(b"{")


def test_an_input_that_cannot_be_read_does_not_stop_the_others(run, here):
    (here / "bad.tsv").write_text("text\nbird\tone too many\n")
    with pytest.raises(MbertError) as refusal:
        predict(run, "missing.tsv", "bad.tsv", "b.tsv", "-o", "out")
    assert [problem.split(":")[0] for problem in refusal.value.problems] == ["missing.tsv", "bad.tsv"]
    assert [path.name for path in (here / "out").iterdir()] == ["b.tsv"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.tsv", "b.tsv"], "several inputs must be files, and -o must be a folder"),
        (["a.tsv", "-", "-o", "out"], "several inputs must be files"),
        (["a.tsv", "b.tsv", "-o", "a.tsv"], "a.tsv: is a file; for several inputs name a folder."),
        (["a.tsv", "other/a.tsv", "-o", "out"], "other/a.tsv: has the same name as a.tsv, so both become out/a.tsv"),
        (["a.tsv", "b.tsv", "-o", "there"], "there/b.tsv: exists; replace it with --force"),
        (["a.tsv", "-o", "x.tsv", "--keep", "id,txt"], "'txt', needed as column to keep; did you mean 'text'?"),
        (["a.tsv", "-o", "x.tsv", "--columns", "txt=note"],
         "--columns txt=note: no task has a column 'txt'; did you mean 'text'? Known: "),
        (["a.tsv", "-o", "x.tsv", "--columns", "text"], "'text': must have the form --columns NAME=OTHER."),
    ],
)  # fmt: skip
def test_a_command_is_refused_before_anything_is_written(run, here, words, message):
    (here / "there").mkdir()
    (here / "there" / "b.tsv").write_text("mine")
    with pytest.raises(MbertError) as refusal:
        predict(run, *words)
    assert message in str(refusal.value)
    assert (here / "there" / "b.tsv").read_text() == "mine"
    assert not (here / "x.tsv").exists()
    assert not list(here.glob("out/*"))


def test_all_outputs_that_cannot_be_written_are_reported_together(run, here):
    for name in ("a.tsv", "b.tsv"):
        (here / "there" / name).parent.mkdir(exist_ok=True)
        (here / "there" / name).write_text("mine")
    with pytest.raises(MbertError) as refusal:
        predict(run, "a.tsv", "b.tsv", "-o", "there")
    assert [problem.split(":")[0] for problem in refusal.value.problems] == ["there/a.tsv", "there/b.tsv"]
    with pytest.raises(MbertError, match="has the same name as"):
        predict(run, "a.tsv", "there/a.tsv", "-o", "new")
    assert not (here / "new").exists()


def test_keep_chooses_columns_and_their_order(run, here):
    predict(run, "a.tsv", "-o", "all.tsv")
    predict(run, "a.tsv", "-o", "kept.tsv", "--keep", "note, id")
    predict(run, "a.tsv", "-o", "none.tsv", "--keep", "")
    predict(run, "a.tsv", "-o", "none-named.tsv", "--keep", "none")
    assert (here / "none-named.tsv").read_bytes() == (here / "none.tsv").read_bytes()
    header, *found = rows(here / "all.tsv")
    assert rows(here / "kept.tsv") == [["note", "id", *header[3:]], *[[row[2], row[0], *row[3:]] for row in found]]
    assert rows(here / "none.tsv") == [header[3:], *[row[3:] for row in found]]


def test_keep_works_for_jsonl_and_can_drop_a_column_that_is_called_as_a_prediction(run, here):
    (here / "a.jsonl").write_text(json.dumps({"text": "cat", "pred": "old", "n": [1]}) + "\n")
    predict(run, "a.jsonl", "-o", "out.jsonl", "--keep", "n")
    record = json.loads((here / "out.jsonl").read_text())
    assert list(record) == ["n", "pred", "p_low", "p_mid", "p_high"]
    assert record["n"] == [1]


def test_a_compressed_output_has_the_same_content_and_reproducible_bytes(run, here):
    predict(run, "a.tsv", "-o", "plain.tsv")
    predict(run, "a.tsv", "-o", "one.tsv.gz")
    predict(run, "a.tsv", "-o", "two.tsv.gz")
    assert gzip.decompress((here / "one.tsv.gz").read_bytes()) == (here / "plain.tsv").read_bytes()
    assert (here / "one.tsv.gz").read_bytes() == (here / "two.tsv.gz").read_bytes()
    (here / "empty.tsv").write_text("text\n")
    predict(run, "empty.tsv", "-o", "empty.tsv.gz")
    assert gzip.decompress((here / "empty.tsv.gz").read_bytes()) == b"text\tpred\tp_low\tp_mid\tp_high\n"


def test_columns_reads_a_column_with_another_name(run, here):
    (here / "other.tsv").write_text("id\treview\n1\tcat dog\n2\tman runs great\n")
    predict(run, "other.tsv", "-o", "other-out.tsv", "--columns", "text=review", "--keep", "id")
    predict(run, "a.tsv", "-o", "out.tsv", "--keep", "id")
    assert (here / "other-out.tsv").read_bytes() == (here / "out.tsv").read_bytes()


@pytest.mark.parametrize("command", [["predict", "-o", "out.tsv"], ["embed", "-t", "mood", "-o", "out.npy"]])
def test_columns_is_rejected_if_a_file_has_both_columns(run, here, command):
    (here / "both.tsv").write_text("text\treview\nid 7\tcat dog\n")
    with pytest.raises(MbertError, match=r"both.tsv:1: has both 'text' and 'review', so --columns text=review is not"):
        app([command[0], str(run), "both.tsv", *command[1:], "--columns", "text=review"], standalone_mode=False)


def test_columns_is_rejected_if_a_file_to_evaluate_has_both_columns(run, here):
    (here / "both.tsv").write_text("text\treview\tmood\nid 7\tcat dog\tlow\n")
    words = ["evaluate", str(run), "--data", "mood=both.tsv", "--columns", "text=review"]
    with pytest.raises(MbertError, match=r"both.tsv:1: has both 'text' and 'review', so --columns text=review is not"):
        app(words, standalone_mode=False)


def test_columns_is_rejected_if_the_dev_file_of_the_recipe_has_both_columns(run):
    with pytest.raises(MbertError, match=r"mood-dev.tsv:1: has both 'text' and 'mood', so --columns text=mood is not"):
        app(["evaluate", str(run), "--columns", "text=mood"], standalone_mode=False)


def test_a_recipe_can_map_columns_to_other_names(tiny_recipe, tiny_files, here):
    path = here / "renamed.tsv"
    path.write_text((tiny_files / "mood-dev.tsv").read_text().replace("text\tmood", "review\tclass", 1))
    words = ["train", str(tiny_recipe), f"tasks.mood.dev={path}", "tasks.mood.columns={text: review, mood: class}"]
    app([*words, "-o", "run", "-q", "training.epochs=1"], standalone_mode=False)
    app(["predict", "run", str(path), "-t", "mood", "-o", "out.tsv", "-q"], standalone_mode=False)
    assert rows(here / "out.tsv")[0][:4] == ["id", "review", "class", "pred"]


def test_parquet_files_are_predicted(run, here):
    pyarrow = pytest.importorskip("pyarrow")
    write_table = pytest.importorskip("pyarrow.parquet").write_table

    columns = {"id": [1, 2], "text": ["cat dog", "man runs great"], "note": ["x", "y"]}
    write_table(pyarrow.table(columns), here / "a.parquet")
    predict(run, "a.parquet", "-o", "of-parquet.tsv")
    predict(run, "a.tsv", "-o", "of-tsv.tsv")
    assert (here / "of-parquet.tsv").read_bytes() == (here / "of-tsv.tsv").read_bytes()


def typed(path):
    """The columns of a Parquet file, and their types."""
    table = pytest.importorskip("pyarrow.parquet").read_table(path)
    types = {field.name: str(field.type) for field in table.schema}
    plain = [name for name, type_ in types.items() if type_ != "timestamp[ns]"]  # Python has no such type
    return table.select(plain).to_pydict(), types


@pytest.fixture
def columns():
    """Columns of types that a text file would lose."""
    pyarrow = pytest.importorskip("pyarrow")
    texts = ["cat dog", "man runs great", "", "bird", "dog"]
    return {
        "id": pyarrow.array([1, 2, 3, None, 5], pyarrow.int16()),
        "text": pyarrow.array(texts).dictionary_encode(),
        "when": pyarrow.array([1_577_934_245_000_000_001, 0, 1, 2, None], pyarrow.timestamp("ns")),
        "tags": pyarrow.array([["a"], [], None, ["b", "c"], ["d"]]),
    }


def test_columns_keep_their_types_in_parquet_outputs(run, here, monkeypatch, columns):
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 2)
    monkeypatch.setattr("mbert_cli.data.parquet._AT_ONCE", 3)
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(columns)
    parquet.write_table(table, here / "a.parquet")
    predict(run, "a.parquet", "-o", "out.parquet")
    predict(run, "a.parquet", "-o", "out.tsv")
    predict(run, "a.parquet", "-o", "kept.parquet", "--keep", "tags,id")
    out = parquet.read_table(here / "out.parquet")
    assert out.select(list(columns)).equals(table)
    found, types = typed(here / "out.parquet")
    assert list(types) == [*columns, "pred", "p_low", "p_mid", "p_high"]
    assert [types[name] for name in ("pred", "p_low", "p_mid", "p_high")] == ["string", "double", "double", "double"]
    header, *texts = rows(here / "out.tsv")
    for name in ("pred", "p_low"):
        written = [value if isinstance(value, str) else f"{value:.6g}" for value in found[name]]
        assert written == [row[header.index(name)] for row in texts]
    kept, _ = typed(here / "kept.parquet")
    assert list(kept)[:3] == ["tags", "id", "pred"]
    assert {name: kept[name] for name in ("id", "pred")} == {name: found[name] for name in ("id", "pred")}


def test_parquet_outputs_of_text_files_have_text_columns(run, here):
    predict(run, "a.tsv", "-o", "out.parquet", "-t", "mood")
    found, types = typed(here / "out.parquet")
    assert found["note"] == ["x", "y"]
    assert types["id"] == "string"
    (here / "empty.tsv").write_text("text\n")
    predict(run, "empty.tsv", "-o", "empty.parquet")
    assert typed(here / "empty.parquet")[0] == {name: [] for name in ("text", "pred", "p_low", "p_mid", "p_high")}


def test_predicted_numbers_are_numbers_in_parquet(run, here):
    (here / "pairs.tsv").write_text("one\ttwo\ncat\tdog\n")
    app(["predict", str(run), "pairs.tsv", "-o", "out.parquet", *FLAGS], standalone_mode=False)
    _, types = typed(here / "out.parquet")
    assert types == {"one": "string", "two": "string", "same_pred": "string", "same_score": "double",
                     "near_pred": "double", "near_score": "double"}  # fmt: skip


def test_a_failed_parquet_output_leaves_no_file(run, here, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 1)
    (here / "bad.tsv").write_text("text\nbird\ncat\tone too many\n")
    with pytest.raises(MbertError, match="bad.tsv:3"):
        predict(run, "bad.tsv", "-o", "out.parquet")
    with pytest.raises(MbertError, match="has no column 'nope'"):
        predict(run, "a.tsv", "-o", "out.parquet", "--keep", "nope")
    assert not list(here.glob("*out.parquet*"))


def test_an_impossible_parquet_output_is_refused_before_the_model_is_loaded(run, here, monkeypatch):
    with pytest.raises(MbertError, match=r"out.parquet: --format cs224n is text; choose another name\."):
        predict(run, "a.tsv", "-o", "out.parquet", "--format", "cs224n")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MbertError, match=r"out.parquet: Parquet is written with pyarrow; pip install 'mbert-cli"):
        predict("no-run", "a.tsv", "-o", "out.parquet")


def test_each_task_can_map_the_same_column_to_another_name(tiny_recipe, tiny_files, here):
    names = ["tasks.same.columns={one: first, two: second}", "tasks.near.columns={one: left, two: right}"]
    app(["train", str(tiny_recipe), *names, "-o", "run", "-q", "training.epochs=1"], standalone_mode=False)
    for task, header in (("same", "first\tsecond"), ("near", "left\tright")):
        (here / f"{task}.tsv").write_text(f"{header}\ncat\tdog\n")
        app(["predict", "run", f"{task}.tsv", "-o", f"{task}-out.tsv", *FLAGS], standalone_mode=False)
        assert rows(here / f"{task}-out.tsv")[0][:3] == [*header.split("\t"), "pred"]
    (here / "neither.tsv").write_text("first\tright\ncat\tdog\n")
    with pytest.raises(MbertError, match="it has first, right. Say which is which with --columns NAME=OTHER."):
        app(["predict", "run", "neither.tsv", *FLAGS], standalone_mode=False)


def test_another_name_for_an_unknown_column_is_refused(tiny_recipe, here):
    with pytest.raises(
        MbertError, match=r"columns\.txt.* is not a column of the task; did you mean 'text'\? Known: id, moo"
    ):
        app(["train", str(tiny_recipe), "tasks.mood.columns={txt: review}", "-o", "run", "-q"], standalone_mode=False)


def test_an_empty_line_of_a_file_of_one_column_is_a_row(run, here):
    (here / "one.tsv").write_text("text\nfirst\n\nthird\n")
    for quoting in ("auto", "none"):
        predict(run, "one.tsv", "-o", f"{quoting}.tsv", "--quoting", quoting)
        assert [row[0] for row in rows(here / f"{quoting}.tsv")] == ["text", "first", "", "third"]


def test_jsonl_objects_need_only_the_used_columns_and_keep_the_others(run, here):
    lines = ['{"text": "cat", "lang": "en"}', '{"text": "dog"}', '{"n": 1.10, "text": "bird", "big": 1e400}']
    (here / "a.jsonl").write_text("\n".join(lines) + "\n")
    predict(run, "a.jsonl", "-o", "out.jsonl")
    predict(run, "a.jsonl", "-o", "kept.jsonl", "--keep", "lang,text")
    written = (here / "out.jsonl").read_text().splitlines()
    assert [line.split(', "pred"')[0] + "}" for line in written] == lines
    kept = [json.loads(line) for line in (here / "kept.jsonl").read_text().splitlines()]
    assert [list(record)[:-4] for record in kept] == [["lang", "text"], ["text"], ["text"]]
    (here / "a.jsonl").write_text(lines[0] + '\n{"lang": "en"}\n')
    with pytest.raises(MbertError, match="a.jsonl:2: no 'text'."):
        predict(run, "a.jsonl", "-o", "other.jsonl")


SWALLOWED = 'text\tmood\n"I left early\tlow\nfine day\tmid\nhe said nothing"\tlow\n'


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", "s.tsv", "-o", "o.tsv", "-t", "mood"],
        ["embed", "RUN", "s.tsv", "-o", "o.npy", "-t", "mood"],
        ["evaluate", "RUN", "-t", "mood", "--data", "mood=s.tsv"],
        ["train", "RECIPE", "-o", "new", "tasks.mood.train=s.tsv"],
        ["train", "RECIPE", "-o", "new", "tasks.mood.dev=s.tsv"],
        ["validate", "RECIPE", "-o", "new", "tasks.mood.test=s.tsv"],
        ["init", "s.tsv", "-o", "o.yaml"],
    ],
)
def test_every_command_refuses_rows_that_a_stray_quote_swallows(run, here, words):
    (here / "s.tsv").write_text(SWALLOWED)
    words = [{"RUN": str(run), "RECIPE": str(run.parent / "recipe.yaml")}.get(word, word) for word in words]
    words = [word.replace("=s.tsv", f"={here / 's.tsv'}") for word in words]
    with pytest.raises(MbertError) as refusal:
        app([*words, "-q"], standalone_mode=False)
    assert "s.tsv:2: a quoted cell spans lines 2 to 4, each of which could be a row of 2 columns" in str(refusal.value)
    assert "--quoting none (in a recipe's task: quoting: none)" in str(refusal.value)
    assert not [*here.glob("o.*")]


def test_suspicious_quotes_are_reported(run, here, capsys):
    # Line 2 shows that quotes are syntax here.
    (here / "s.tsv").write_text('text\tmood\n"cat\tdog"\tlow\n"the\tcat\ndog"\tlow\n')
    warning = "s.tsv: a quoted cell spans lines 3 to 4, each of which could be a row by itself; if"
    for words in (["predict", str(run), "s.tsv", "-o", "o.tsv"], ["embed", str(run), "s.tsv", "-o", "o.npy"]):
        app([*words, "-t", "mood"], standalone_mode=False)
        assert capsys.readouterr().err.count(warning) == 1
        app([*words, "-t", "mood", "--quoting", "csv", "--force"], standalone_mode=False)
        assert warning not in capsys.readouterr().err


def test_a_task_can_have_no_ids(run, here, capsys):
    rows = "".join(f"user{i % 3}\tcat dog {i}\t{['low', 'mid', 'high'][i % 3]}\n" for i in range(9))
    (here / "r.tsv").write_text(f"id\ttext\tmood\n{rows}")
    files = [f"tasks.mood.{split}={here / 'r.tsv'}" for split in ("train", "dev", "test")]
    words = ["train", str(run.parent / "recipe.yaml"), "training.epochs=1", *files]
    app([*words, "-o", "named"], standalone_mode=False)
    warning = (
        "6 rows repeat the id of an earlier one, first line 5: id 'user0' is already used at line 2; if 'id' does not "
    )
    assert warning + "identify rows, set tasks.mood.id=null." in capsys.readouterr().err
    app([*words, "-o", "none", "tasks.mood.id=null"], standalone_mode=False)
    assert "repeat the id" not in capsys.readouterr().err
    app(["validate", *words[1:], "-o", "v", "--no-measure", "tasks.mood.id=null"], standalone_mode=False)
    predict("none", "r.tsv", "-o", "o.tsv")
    app(["evaluate", "none", "-t", "mood", "--limit", "5", "-q"], standalone_mode=False)
    with pytest.raises(MbertError, match="--format cs224n needs ids, but tasks.mood.id of the recipe is null."):
        predict("none", "r.tsv", "-o", "c.csv", "--format", "cs224n")
    assert not (here / "c.csv").exists()


def test_an_output_reads_back_and_can_be_predicted_again(run, here):
    (here / "cr.csv").write_text('text,label\n"one\rtwo",x\n"a\nb, c",y\n', newline="")
    predict(run, "cr.csv", "-o", "o.csv", "--keep", "text,label")
    assert [row[:2] for row in rows(here / "o.csv")] == [["text", "label"], ["one\rtwo", "x"], ["a\nb, c", "y"]]
    frame = pandas.read_csv(here / "o.csv", dtype=str, keep_default_na=False)
    assert [frame.columns.tolist(), *frame.to_numpy().tolist()] == rows(here / "o.csv")
    predict(run, "o.csv", "-o", "again.csv", "--keep", "text,label")
    assert (here / "again.csv").read_bytes() == (here / "o.csv").read_bytes()


@pytest.mark.parametrize("source", ["a.tsv", "a.jsonl", "a.csv"])
def test_the_format_of_an_output_follows_its_name(run, here, source):
    (here / "a.jsonl").write_text(
        '{"id": 1, "text": "cat, dog", "note": "x"}\n{"id": 2, "text": "a\\nb", "note": ""}\n'
    )
    (here / "a.csv").write_text('id,text,note\n1,"cat, dog",x\n2,"a\nb",\n')
    (here / "a.tsv").write_text('id\ttext\tnote\n1\tcat, dog\tx\n2\t"a\nb"\t\n')
    for name in ("o.tsv", "o.csv", "o.jsonl", "o.parquet", "o.csv.gz", "o.jsonl.gz"):
        predict(run, source, "-o", name)
        found = rows(here / name)
        assert [row[:3] for row in found] == [["id", "text", "note"], ["1", "cat, dog", "x"], ["2", "a\nb", ""]]
        assert found[0][3:] == ["pred", "p_low", "p_mid", "p_high"]
    assert (here / "o.csv").read_text().startswith("id,text,note,pred,")
    assert (here / "o.tsv").read_text().startswith("id\ttext\tnote\tpred\t")
    assert json.loads((here / "o.jsonl").read_text().splitlines()[0])["text"] == "cat, dog"
    assert gzip.decompress((here / "o.csv.gz").read_bytes()) == (here / "o.csv").read_bytes()


def test_an_unsupported_format_is_refused_before_the_model_is_loaded(run, here, monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.predictor.Predictor", None)
    with pytest.raises(MbertError, match=r"o\.xlsx: \.xlsx files are not written; end the name in \.csv\."):
        predict(run, "a.tsv", "-o", "o.xlsx")
    assert not (here / "o.xlsx").exists()


def test_a_cell_that_cannot_be_written_without_quotes_is_refused_with_its_row(run, here):
    (here / "a.jsonl").write_text('{"text": "cat"}\n{"text": "a\\tb"}\n')
    with pytest.raises(
        MbertError, match=r"a\.jsonl:2: the cell 'a\\tb' contains a delimiter or a line end, which cannot be"
    ):
        predict(run, "a.jsonl", "-o", "o.tsv", "--quoting", "none")
    assert not (here / "o.tsv").exists()


def test_an_id_with_a_line_end_is_refused_in_the_course_format(run, here):
    (here / "i.tsv").write_text('id\ttext\n"1\n2"\tcat\n')
    with pytest.raises(MbertError, match=r"i\.tsv:2: the id '1\\n2' cannot be written in --format cs224n"):
        predict(run, "i.tsv", "-o", "o.csv", "--format", "cs224n", "--quoting", "csv")


NO_TEXTS = {
    '{"txt": "great film"}': "no 'text'.",
    '{"text": null}': "'text' must be a text, but is null",
    '{"text": ["a"]}': "'text' must be a text, but is a list",
    '{"text": {"a": 1}}': "'text' must be a text, but is an object",
    '{"text": true}': "'text' must be a text, but is true or false",
}


@pytest.mark.parametrize("row", NO_TEXTS)
@pytest.mark.parametrize("command", ["predict", "embed"])
def test_a_row_without_a_text_is_refused_with_its_line(run, here, command, row):
    (here / "a.jsonl").write_text(f'{{"text": "cat"}}\n{{"text": ""}}\n{{"text": 12}}\n{row}\n')
    output, task = ("out.jsonl", []) if command == "predict" else ("v.npy", ["-t", "mood"])
    with pytest.raises(MbertError) as refusal:
        app([command, str(run), "a.jsonl", "-o", output, *task, *FLAGS], standalone_mode=False)
    assert str(refusal.value).startswith(f"a.jsonl:4: {NO_TEXTS[row]}")
    assert not (here / output).exists()


def test_null_and_lists_in_a_parquet_file_are_refused(run, here):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra [parquet]")
    parquet = pytest.importorskip("pyarrow.parquet")
    for values, message in (
        (["cat", "", None], ":3: 'text' must be a text, but is null"),
        ([["cat"]], ":1: 'text' must be"),
    ):
        parquet.write_table(pyarrow.table({"text": values}), here / "a.parquet")
        with pytest.raises(MbertError, match=message):
            predict(run, "a.parquet", "-o", "out.tsv")


def test_empty_cells_and_numbers_are_texts(run, here):
    (here / "a.jsonl").write_text('{"text": ""}\n{"text": 12}\n')
    predict(run, "a.jsonl", "-o", "out.jsonl")
    (here / "c.tsv").write_text("id\ttext\n1\t\n2\t12\n")
    predict(run, "c.tsv", "-o", "out.tsv")
    predictions = [json.loads(line)["pred"] for line in (here / "out.jsonl").read_text().splitlines()]
    assert predictions == [row[2] for row in rows(here / "out.tsv")[1:]]


def test_an_output_can_be_predicted_again_without_its_old_predictions(run, here):
    predict(run, "a.tsv", "-o", "once.tsv")
    with pytest.raises(MbertError) as refusal:
        predict(run, "once.tsv", "-o", "twice.tsv")
    assert str(refusal.value) == (
        "once.tsv:1: already has columns that the prediction would add (pred, p_low, p_mid, p_high); "
        "leave them out: --keep id,text,note."
    )
    predict(run, "once.tsv", "-o", "twice.tsv", "--keep", "id,text,note")
    assert (here / "twice.tsv").read_bytes() == (here / "once.tsv").read_bytes()
    (here / "odd.tsv").write_text("text\t#2 String\tpred\ncat\tx\ty\n")
    with pytest.raises(MbertError, match=r"\(pred\); leave them out: --keep 'text,#2 String'\."):
        predict(run, "odd.tsv", "-o", "odd-out.tsv")
