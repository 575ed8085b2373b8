"""Interrupted predictions are resumed, and give the bytes of undisturbed ones."""

import pytest
import tiny
import torch

from mbert_cli.cli import app
from mbert_cli.data.table import Table
from mbert_cli.errors import MbertError
from mbert_cli.machine.hardware import computing_with
from mbert_cli.prediction import outputs

FLAGS = ("-t", "mood", "--precision", "fp32", "--device", "cpu")


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("resumed")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a file of 23 rows, of which 5 are predicted at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 5)
    (tmp_path / "long.tsv").write_text("text\n" + "cat dog\n" * 23)
    return tmp_path


@pytest.fixture
def computed(monkeypatch):
    """For each piece that is computed, its rows and the number of threads."""
    pieces = []
    run_model = outputs.run_model

    def counting(model, task, data, *arguments, **options):
        pieces.append((len(data), torch.get_num_threads()))
        return run_model(model, task, data, *arguments, **options)

    monkeypatch.setattr(outputs, "run_model", counting)
    return pieces


def predict(run, *words):
    app(["predict", str(run), *map(str, words), *FLAGS], standalone_mode=False)


def predict_interrupted(run, *words, pieces):
    """Predict, and run out of memory once a number of pieces has been computed."""
    run_model, left = outputs.run_model, iter(range(pieces))

    def dying(*arguments, **options):
        if next(left, None) is None:
            raise MemoryError("out of memory")
        return run_model(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "run_model", dying)
        with pytest.raises(MemoryError):
            predict(run, *words)


def test_a_prediction_is_resumed_with_the_number_of_threads_that_it_was_started_with(run, here, computed, capsys):
    with computing_with(1):
        predict(run, "long.tsv", "-o", "whole.tsv")
        predict_interrupted(run, "long.tsv", "-o", "cut.tsv", pieces=2)
    computed.clear()
    capsys.readouterr()
    with computing_with(2):
        predict(run, "long.tsv", "-o", "cut.tsv")
        assert torch.get_num_threads() == 2
    assert computed == [(5, 1), (5, 1), (3, 1)]
    assert (here / "cut.tsv").read_bytes() == (here / "whole.tsv").read_bytes()
    assert (
        "cut.tsv: computing with 1 thread, as the prediction was started with, and not 2: their number changes the "
        "last digits. To use 2, remove .cut.tsv.partial.\ncut.tsv: resuming after 10 rows.\n"
    ) in capsys.readouterr().err


def test_the_files_after_a_resumed_one_use_its_number_of_threads(run, here, computed):
    (here / "next.tsv").write_text("text\ncat\n")
    with computing_with(1):
        predict_interrupted(run, "long.tsv", "next.tsv", "-o", "out", pieces=4)
    computed.clear()
    with computing_with(2):
        predict(run, "long.tsv", "next.tsv", "-o", "out")
    assert computed == [(3, 1), (1, 1)]


def test_a_prediction_with_other_options_starts_from_the_beginning_with_the_current_threads(run, here, computed):
    with computing_with(1):
        predict_interrupted(run, "long.tsv", "-o", "out.tsv", pieces=2)
    computed.clear()
    with computing_with(2):
        predict(run, "long.tsv", "-o", "out.tsv", "--limit", "12")
    assert computed == [(5, 2), (5, 2), (2, 2)]


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz"])
def test_pieces_that_were_written_are_not_computed_again(run, here, computed, ending):
    predict(run, "long.tsv", "-o", f"whole.{ending}")
    predict_interrupted(run, "long.tsv", "-o", f"cut.{ending}", pieces=2)
    computed.clear()
    predict(run, "long.tsv", "-o", f"cut.{ending}")
    assert [rows for rows, _ in computed] == [5, 5, 3]
    assert (here / f"cut.{ending}").read_bytes() == (here / f"whole.{ending}").read_bytes()
    with Table(f"cut.{ending}") as table:
        assert len(list(table)) == 23


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "parquet"])
def test_of_several_inputs_the_finished_ones_are_not_written_again(run, here, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    names = [f"{letter}.{ending}" for letter in "cde"]
    for name in names:
        (here / name).write_text("text\n" + f"cat {name[0]}\n" * 12)
    predict(run, *names, "-o", "whole")

    predict_interrupted(run, *names, "-o", "cut", pieces=4)
    first = (here / "cut" / names[0]).stat()
    predict(run, *names, "-o", "cut")
    again = (here / "cut" / names[0]).stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    for name in names:
        assert (here / "cut" / name).read_bytes() == (here / "whole" / name).read_bytes()
    assert sorted(path.name for path in (here / "cut").iterdir()) == names
    with pytest.raises(MbertError, match="exists; replace it with --force"):
        predict(run, *names, "-o", "cut")


def test_a_parquet_output_that_was_complete_but_not_renamed_is_written_again(run, here, monkeypatch):
    pytest.importorskip("pyarrow")
    with monkeypatch.context() as patch:
        patch.setattr("mbert_cli.storage.resumable_output.put_in_place", lambda *_: exit(1))
        with pytest.raises(SystemExit):
            predict(run, "long.tsv", "-o", "out.parquet", "-q")
    predict(run, "long.tsv", "-o", "out.parquet", "-q")
    predict(run, "long.tsv", "-o", "whole.parquet", "-q")
    assert (here / "out.parquet").read_bytes() == (here / "whole.parquet").read_bytes()
