"""Prediction in several threads: the same bytes, the same errors, and no thread remains."""

import signal
import threading
import time

import pytest

from mbert_cli.cli import app
from mbert_cli.errors import MbertError, Stopped
from mbert_cli.machine.signals import listening_to_interrupts, received
from mbert_cli.prediction import predict_table, windows
from mbert_cli.prediction.ahead import ahead
from mbert_cli.prediction.predictor import Predictor


@pytest.fixture(autouse=True)
def no_thread_remains():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "mbert-ahead"]


def counting(limit, seen, error=None):
    try:
        for number in range(limit):
            seen.append(number)
            yield number
        if error is not None:
            raise error
    finally:
        seen.append("closed")


def test_items_arrive_in_order_from_another_thread():
    seen, threads = [], set()

    def items():
        for number in counting(100, seen):
            threads.add(threading.current_thread().name)
            yield number

    with ahead(items()) as arriving:
        assert list(arriving) == list(range(100))
    assert threads == {"mbert-ahead"}
    assert seen[-1] == "closed"


def test_an_error_arrives_after_the_items_before_it():
    seen, arrived = [], []
    with ahead(counting(2, seen, ValueError("after two"))) as items, pytest.raises(ValueError, match="after two"):
        arrived.extend(items)
    assert arrived == [0, 1]


def test_the_end_of_the_block_stops_the_thread_and_closes_the_iterator():
    seen = []
    with ahead(counting(1000, seen)) as items:
        assert next(items) == 0
    assert seen[-1] == "closed"
    assert len(seen) <= 5, "it is at most two items ahead"


class FailsToClose:
    """Two items; `close` raises, as that of a file on a disk that is gone."""

    def __init__(self, error=None):
        self.items = counting(2, [], error)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)

    def close(self):
        raise OSError("cannot close")


def test_an_error_of_close_arrives_after_the_items(capfd):
    arrived = []
    with pytest.raises(OSError, match="cannot close"), ahead(FailsToClose()) as items:
        arrived.extend(items)
    assert arrived == [0, 1]
    with pytest.raises(ValueError, match="first"), ahead(FailsToClose(ValueError("first"))) as items:
        list(items)
    with ahead(FailsToClose()) as items:  # nobody waits for the error
        assert next(items) == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_signal_interrupts_the_wait_for_an_item_and_ends_the_thread():
    def items():
        signal.raise_signal(signal.SIGINT)  # the main thread handles it
        while received() is None:
            time.sleep(0.001)
        yield 1

    with listening_to_interrupts(), pytest.raises(Stopped), ahead(items()) as arriving:
        next(arriving)


# Prediction, with windows of three rows


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("ahead")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    words = ["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "--device", "cpu", "-q"]
    app(words, standalone_mode=False)
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(windows, "_MOST_ROWS", 3)
    (tmp_path / "in.tsv").write_text("text\n" + "".join(f"cat dog {'runs ' * number}\n" for number in range(10)))
    return tmp_path


def predict(run, monkeypatch, output, overlap):
    monkeypatch.setattr(predict_table, "_overlap", lambda *_: overlap)
    words = ["predict", str(run), "in.tsv", "-o", output, "-t", "mood", "--precision", "fp32", "--device", "cpu", "-q"]
    app(words, standalone_mode=False)


def test_the_output_has_the_same_bytes(run, here, monkeypatch):
    for overlap in (False, True):
        predict(run, monkeypatch, f"{overlap}.tsv", overlap)
    assert (here / "True.tsv").read_bytes() == (here / "False.tsv").read_bytes()


def test_a_malformed_row_has_the_same_message_and_the_windows_before_it_are_kept(run, here, monkeypatch):
    file = here / "in.tsv"
    file.write_text(file.read_text() + "bird\tone too many\n")
    messages, partial = [], []
    for overlap in (False, True):
        with pytest.raises(MbertError) as refusal:
            predict(run, monkeypatch, "out.tsv", overlap)
        messages.append(str(refusal.value))
        partial.append(sorted((path.name, path.read_bytes()) for path in here.iterdir() if "out" in path.name))
        for path in here.iterdir():
            if "out" in path.name:
                path.unlink()
    assert messages[0] == messages[1]
    assert "in.tsv:12" in messages[0]
    assert [name for name, _ in partial[0]] == [name for name, _ in partial[1]]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Stopped(2, "stopped"), MemoryError()])
@pytest.mark.parametrize("place", ["computing", "writing"])
def test_an_error_in_a_stage_ends_the_command_as_without_threads(run, here, monkeypatch, place, error):
    calls = []

    def fail_at_the_second_call(function):
        def call(*arguments):
            calls.append(1)
            if len(calls) == 2:
                raise error
            return function(*arguments)

        return call

    if place == "computing":
        monkeypatch.setattr(Predictor, "predict_tokens", fail_at_the_second_call(Predictor.predict_tokens))
    else:
        monkeypatch.setattr(windows.Window, "own_rows", property(fail_at_the_second_call(lambda window: window.rows)))
    ends = []
    for overlap in (False, True):
        calls.clear()
        with pytest.raises(BaseException) as raised:  # noqa: PT011
            predict(run, monkeypatch, f"{overlap}.tsv", overlap)
        ends.append((type(raised.value), str(raised.value).replace("True", "False")))
    assert ends[0] == ends[1]


def test_threads_are_for_files_on_a_gpu(run):
    """A stream is not read ahead, and a CPU computes with all its cores."""

    class Made:
        def __init__(self, **fields):
            self.__dict__ |= fields

    gpu, cpu = (Made(hardware=Made(device=Made(type=kind))) for kind in ("cuda", "cpu"))
    file, stream = Made(path=run / "recipe.yaml"), Made(path=None)
    overlap = getattr(predict_table._overlap, "__wrapped__", predict_table._overlap)
    assert [overlap(*each) for each in ((gpu, file), (gpu, stream), (cpu, file))] == [True, False, False]
