"""`--engine ray` with two workers: the files of one process, whatever happens to the workers."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
import tiny
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.errors import RunFailedError, UsageError
from mbert_cli.machine.hardware import computing_with
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.ray import EmbedBatch, PredictBatch
from mbert_cli.ray.cluster import connected, cpus_each

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of Ray itself
FLAGS = ("-t", "mood", "--precision", "fp32", "--device", "cpu", "-q")
OWN_CLUSTER = {"RAY_AUTH_MODE": "disabled"}  # with a token, Ray finds a cluster by `auto` only
ON_RAY = ("--engine", "ray", "--workers", "2")


def mbert(*words):
    app([*map(str, words)], standalone_mode=False)


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    mbert("train", recipe, "-o", folder / "run", "training.epochs=1", "-q")
    return folder / "run"


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """A cluster of two CPUs for all commands of this module."""
    log = tmp_path_factory.mktemp("cluster") / "log"
    options = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--port=0"]
    with log.open("w") as file:
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options],
            stdout=file,
            stderr=file,
            env={**os.environ, **OWN_CLUSTER},
            start_new_session=True,
        )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OWN_CLUSTER.items():
            patch.setenv(name, value)
        # Not `auto`: that is the newest cluster of the machine. Another worker of the test suite may have started it.
        patch.setenv("RAY_ADDRESS", wait_for(lambda: re.search(r"--address='(.*?)'", log.read_text()))[1])
        yield psutil.Process(head.pid)
    for process in [*psutil.Process(head.pid).children(recursive=True), head]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    head.wait()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def tables(run, tmp_path_factory):
    """A folder of two tables, one of them large enough for two parts, and what one process predicts for them."""
    folder = tmp_path_factory.mktemp("tables")
    texts = sentences(20_000, 3)
    (folder / "a.tsv").write_text("text\n" + "".join(f"{text}\n" for text in texts))
    (folder / "b.csv").write_text("id,text\n" + "".join(f'{row},"{text}, yes"\n' for row, text in enumerate(texts[:7])))
    with computing_with(1):  # as each worker
        mbert("predict", run, folder / "a.tsv", folder / "b.csv", "-o", folder / "expected", *FLAGS)
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.divided_files._LEAST_BYTES", 200_000)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_folder_has_the_files_of_one_process(run, tables, tmp_path, capsys):
    mbert("predict", run, tables, "-o", tmp_path / "out", *ON_RAY, *FLAGS[:-1])
    assert contents(tmp_path / "out") == contents(tables / "expected")
    assert re.search(r"wrote .*/out/a.tsv: 20,000 rows of 2 parts", capsys.readouterr().err)
    with pytest.raises(UsageError, match="exists"):
        mbert("predict", run, tables, "-o", tmp_path / "out", *ON_RAY, *FLAGS)


def test_vectors_are_those_of_one_process(run, tables, tmp_path):
    with computing_with(1):
        mbert("embed", run, tables / "a.tsv", "-o", tmp_path / "one.npy", *FLAGS)
    mbert("embed", run, tables / "a.tsv", "-o", tmp_path / "ray.npy", *ON_RAY, *FLAGS)
    assert (tmp_path / "ray.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
    assert np.load(tmp_path / "ray.npy").shape == (20_000, 16)


def test_a_killed_actor_and_a_killed_command_lose_and_double_nothing(run, tables, tmp_path, cluster):
    words = ["predict", run, tables, "-o", tmp_path / "out", *ON_RAY, *FLAGS]
    code = f"import mbert_cli.prediction.divided_files as parts; parts._LEAST_BYTES = 200_000; {MAIN}"
    wait_for(lambda: not actors(cluster))  # those of the last command
    command = subprocess.Popen([sys.executable, "-c", code, *map(str, words)])
    try:
        wait_for(lambda: list(tmp_path.glob("out/.*.parts/*/.*.partial/journal.jsonl")))
        killed = actors(cluster)[0]
        killed.kill()
        wait_for(lambda: [each for each in actors(cluster) if each.pid > killed.pid])
    finally:
        command.kill()
        command.wait()
    wait_for(lambda: not actors(cluster))
    assert not (tmp_path / "out" / "a.tsv").exists()
    mbert(*words)
    assert contents(tmp_path / "out") == contents(tables / "expected")


MAIN = "from mbert_cli.cli import main; main()"


def actors(cluster):
    """Return the processes of a cluster's actors that predict or can predict."""
    found = []
    for process in cluster.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process] * (process.cmdline() or [""])[0].startswith("ray::MapWorker")
    return found


def test_an_input_that_cannot_be_read_does_not_stop_the_others(run, tables, tmp_path):
    (tmp_path / "bad.tsv").write_text("words\na cat\n")
    with pytest.raises(RunFailedError) as error:
        mbert("predict", run, tmp_path / "bad.tsv", tables / "b.csv", "-o", tmp_path / "out", *ON_RAY, *FLAGS)
    assert error.value.exit_code == 2
    assert len(error.value.problems) == 1
    assert "bad.tsv" in str(error.value)
    assert "text" in str(error.value)
    assert (tmp_path / "out" / "b.csv").read_bytes() == (tables / "expected" / "b.csv").read_bytes()


def test_the_handlers_of_signals_are_those_of_mbert():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with connected(None):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_without_an_address_a_new_cluster_is_started(monkeypatch):
    options = {}
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(ray, "init", lambda **given: options.update(given))
    with connected(None):
        assert options["address"] == "local"  # None means the newest cluster of the machine, whoever has started it


@pytest.mark.parametrize(
    ("machines", "workers", "expected"),
    [([8], 2, 4), ([3, 5], 2, 3), ([3, 5], 3, 2), ([16, 16, 2], 3, 8), ([4, 4], 1, 4), ([1, 1], 5, 1)],
)
def test_workers_fit_on_the_machines(machines, workers, expected):
    assert cpus_each(machines, workers) == expected


def test_more_workers_than_cpus_are_refused(run, tables, tmp_path):
    words = ["predict", run, tables / "b.csv", "-o", tmp_path / "b.csv", "--engine", "ray", "--workers", "3"]
    with pytest.raises(UsageError, match="--workers is 3, but the Ray cluster has 2 CPUs; use at most 2"):
        mbert(*words, *FLAGS)


def test_actors_of_a_pipeline_append_predictions_and_vectors(run):
    texts = sentences(9, 5)
    with connected(None):  # Ray ends a process that stays connected with a cluster that has ended
        rows = ray.data.from_items([{"number": number, "text": text} for number, text in enumerate(texts)])
        predicted = rows.map_batches(
            PredictBatch, fn_constructor_args=(str(run), "mood"), batch_size=4, concurrency=1
        ).map_batches(EmbedBatch, fn_constructor_args=(str(run), "mood"), batch_size=4, concurrency=1)
        found = sorted(predicted.take_all(), key=lambda row: row["number"])
    predictor = Predictor(run)
    expected = predictor({"text": texts}, task="mood")
    assert [row["text"] for row in found] == texts
    assert [row["pred"] for row in found] == expected["pred"]
    assert [row["p_low"] for row in found] == pytest.approx(list(expected["p_low"]), abs=1e-2)
    assert np.allclose([row["embedding"] for row in found], predictor.embed(texts, "mood"), atol=2e-2)
