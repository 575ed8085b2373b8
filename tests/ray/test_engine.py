"""`--engine ray` with two workers: the results of one machine, whatever happens to the workers."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pytest
import stand_in
import tiny
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.errors import RunFailedError, Stopped, UsageError
from mbert_cli.machine import child_process
from mbert_cli.machine.hardware import computing_with
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.ray import EmbedBatch, PredictBatch
from mbert_cli.ray.cluster import Workers, connected, cpus_each, share_out
from mbert_cli.ray.executor import RayExecutor
from mbert_cli.ray.train_task import train
from mbert_cli.storage.commit_epoch import commit_state
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import in_use

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of Ray itself
FLAGS = ("-t", "mood", "--precision", "fp32", "--device", "cpu", "-q")
OWN_CLUSTER = {"RAY_AUTH_MODE": "disabled"}  # with a token, Ray finds a cluster by `auto` only
ON_RAY = ("--engine", "ray", "--workers", "2")
PYTHON_PATH = os.pathsep.join([str(Path(stand_in.__file__).parent), os.environ.get("PYTHONPATH", "")])


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
            env={**os.environ, **OWN_CLUSTER, "PYTHONPATH": PYTHON_PATH},
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
    return processes(cluster, "ray::MapWorker")


def processes(cluster, name):
    """Return the processes of a cluster that do a certain task."""
    named = []
    for process in cluster.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            named += [process] * (process.cmdline() or [""])[0].startswith(name)
    return named


def test_an_input_that_cannot_be_read_does_not_stop_the_others(run, tables, tmp_path, monkeypatch):
    monkeypatch.setenv("MBERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bad.tsv").write_text("words\na cat\n")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(tables / "b.csv", "b.csv")
    url = f"::file://{tmp_path}/in.zip"
    inputs = [tmp_path / "bad.tsv", f"zip://b.csv{url}", f"zip://none.csv{url}"]
    with pytest.raises(RunFailedError) as error:
        mbert("predict", run, *inputs, "-o", tmp_path / "out", *ON_RAY, *FLAGS)
    assert error.value.exit_code == 2
    bad, missing = error.value.problems
    assert missing == f"zip://none.csv{url}: does not exist; correct the name."
    assert "bad.tsv" in bad
    assert "text" in bad
    assert (tmp_path / "out" / "b.csv").read_bytes() == (tables / "expected" / "b.csv").read_bytes()
    assert len([*(tmp_path / "cache").glob("inputs/*/*/b.csv")]) == 1


def test_the_handlers_of_signals_are_those_of_mbert():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with connected(None):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_without_an_address_a_new_cluster_is_started(monkeypatch):
    options = {}
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(ray, "init", lambda **given: options.update(given))
    with connected(None):
        assert options["address"] == "local"  # None means the newest cluster of the machine, which another user may own


@pytest.mark.parametrize(
    ("machines", "gpus", "workers", "expected"),
    [
        ([8], None, 2, 4),
        ([3, 5], None, 2, 3),
        ([3, 5], None, 3, 2),
        ([16, 16, 2], None, 3, 8),
        ([4, 4], None, 1, 4),
        ([1, 1], None, 5, 1),
        ([64, 8], [0, 8], 8, 1),  # a machine without a GPU has no worker
        ([64, 8], [1, 4], 5, 2),
        ([32, 32], [2, 2], 2, 32),
    ],
)
def test_workers_fit_on_the_machines(machines, gpus, workers, expected):
    assert cpus_each(machines, workers, gpus) == expected


@pytest.mark.parametrize(
    ("machines", "device", "expected"),
    [
        ([(8, 0), (4, 0), (0, 0)], "auto", Workers(2, 4, 0)),
        ([(8, 4), (8, 0)], "auto", Workers(4, 2, 1)),
        ([(8, 4), (8, 0)], "cpu", Workers(2, 8, 0)),
        ([(2, 4)], "cuda", Workers(2, 1, 1)),
    ],
)
def test_by_default_each_gpu_or_each_machine_has_a_worker(monkeypatch, machines, device, expected):
    nodes = [{"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in machines]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert share_out(None, device) == expected


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        ([(2, 4)], "--jobs is 9, but the Ray cluster has 4 GPUs and 2 CPUs; use at most 2"),
        ([(0, 0)], "--engine ray: the Ray cluster has 0 CPUs, which is no room for a worker; add a machine"),
    ],
)
def test_a_cluster_without_room_is_refused(monkeypatch, machines, message):
    nodes = [{"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in machines]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(UsageError, match=message):
        share_out(9, "auto", "--jobs")


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


# Sweeps

PLAN = """\
seeds: [1]
settings: [training.epochs=1]
keep: model
rows:
  - {name: first, recipe: recipe.yaml}
  - {name: second, recipe: recipe.yaml, settings: ["adapters=[]"]}
"""
FIRST, SECOND = "first-seed-1", "second-seed-1"
CPU = ("--precision", "fp32", "--kernels", "torch")


@pytest.fixture
def plan(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    return tmp_path / "plan.yaml"


@pytest.fixture
def stand_ins(monkeypatch):
    """Training runs are stand-ins, and the tests' process remains able to receive signals."""
    monkeypatch.setattr("mbert_cli.ray.executor.train", stand_in.train_task)
    monkeypatch.setattr("mbert_cli.machine.process_pool.ignore_further_signals", lambda: None)


def change_second(plan, setting):
    plan.write_text(PLAN.replace('"adapters=[]"', f'"adapters=[]", {setting}'))


def mbert_sweep(*words):
    mbert("sweep", "plan.yaml", "-o", "out", "--engine", "ray", *words)


def log_of(run):
    file = Path("out", "logs", f"{run}.log")
    return file.read_text() if file.exists() else ""


def test_runs_of_a_sweep_have_the_bytes_of_runs_on_this_machine(plan, capsys):
    plan.write_text(PLAN.partition("  - {name: second")[0])
    mbert_sweep("-j", "2", *CPU)
    opening, start, end = capsys.readouterr().err.splitlines()
    assert opening == "Ray: 2 runs at the same time, each with 1 CPU"
    assert start == f"first, seed 1: training on cpu; {Path('out/logs').absolute() / FIRST}.log"
    assert end.startswith("[1/1] first, seed 1: done; overall 0.")
    with computing_with(1):
        mbert("train", f"out/recipes/{FIRST}.yaml", "-o", "local", "--device", "cpu", *CPU, "-q")
    files = [path.relative_to("local") for path in Path("local/model").rglob("*.safetensors")]
    assert files
    for file in files:
        assert Path("out/runs", FIRST, file).read_bytes() == Path("local", file).read_bytes()


def test_the_folds_of_a_cross_validation_train_on_the_cluster(plan, capsys):
    one_task = ("tasks.same=null", "tasks.near=null", "training.epochs=1")
    words = ("cv", "recipe.yaml", *one_task, "--folds", "2", "-o", "out", "--engine", "ray", "-j", "2", *CPU)
    mbert(*words)
    assert "Ray: 2 runs at the same time, each with 1 CPU\n" in capsys.readouterr().err
    with Path("out/mood_predictions.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [int(row["line"]) for row in rows] == list(range(2, 22))
    assert {row["fold"] for row in rows} == {"1", "2"}
    capsys.readouterr()
    mbert(*words)
    err = capsys.readouterr().err
    assert "2 of 2 runs are done already\n" in err
    assert "Ray: " not in err, "there is nothing to train"


SEARCH = """\
title: A search
settings: [training.epochs=2]
search:
  recipe: recipe.yaml
  trials: 4
  ranges: {training.weight_decay: {uniform: [0, 0.3]}, adapters: [[], [top]]}
"""


def test_a_search_suggests_the_trials_of_one_machine(plan, stand_ins, monkeypatch):
    pytest.importorskip("optuna", reason="needs the extra [search]")
    plan.write_text(SEARCH)
    mbert_sweep("-q", "-j", "2")
    monkeypatch.setattr(child_process, "spawn", stand_in.Process)
    mbert("sweep", "plan.yaml", "-o", "local", "-q", "-j", "2")
    texts = [Path(name, "table.tsv").read_text() for name in ("out", "local")]
    tables = [list(csv.DictReader(text.splitlines(), delimiter="\t")) for text in texts]
    for row in (*tables[0], *tables[1]):
        del row["trained_on"]  # Ray names the device: `cpu` instead of `auto`
    assert tables[0] == tables[1]


def test_a_run_whose_worker_was_killed_fails_and_is_resumed_by_the_next_sweep(plan, stand_ins, cluster, capsys):
    change_second(plan, f"training.learning_rate={stand_in.SLOW}")

    def kill_worker():
        wait_for(lambda: "waiting" in log_of(SECOND))
        (worker,) = processes(cluster, "ray::train_task")
        worker.kill()

    with ThreadPoolExecutor() as threads:
        killed = threads.submit(kill_worker)
        with pytest.raises(
            RunFailedError, match=r"second, seed 1: failed with exit code 6: Ray lost the proc"
        ) as error:
            mbert_sweep("-j", "1")
        killed.result()
    assert error.value.exit_code == 6
    assert "first, seed 1: done" in capsys.readouterr().err
    mbert_sweep("-q")
    assert [log_of(run).count("$ mbert train") for run in (FIRST, SECOND)] == [1, 2]
    assert "--resume" in log_of(SECOND)


def test_a_failed_run_is_reported_as_on_one_machine(plan, stand_ins, capsys):
    change_second(plan, f"training.learning_rate={stand_in.NOT_FINITE}")
    with pytest.raises(RunFailedError) as error:
        mbert_sweep("-j", "2")
    assert error.value.exit_code == 5
    note = f"second, seed 1: failed with exit code 5: the loss is nan ({Path('out/logs').absolute() / SECOND}.log)"
    assert note in str(error.value)
    assert re.search(rf"\[./2\] {re.escape(note)}", capsys.readouterr().err)


def test_a_stopped_sweep_saves_what_trains_and_cancels_what_waits_for_room(plan, stand_ins, monkeypatch):
    """Both runs need both CPUs of the cluster."""
    change_second(plan, f"training.learning_rate={stand_in.SLOW}")
    slow_first = plan.read_text().splitlines()
    plan.write_text("\n".join([*slow_first[:-2], slow_first[-1], slow_first[-2]]))
    monkeypatch.setattr("mbert_cli.ray.cluster.share_out", lambda *_: Workers(2, 2, 0))

    def poll(pool):
        assert len(pool.jobs) == 2
        wait_for(lambda: "waiting" in log_of(SECOND))
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr("mbert_cli.machine.process_pool.ProcessPool.poll", poll)
    with pytest.raises(Stopped, match="out: stopped; 0 of 2 runs are done") as stop:
        mbert_sweep()
    assert stop.value.number == signal.SIGINT
    assert log_of(SECOND).splitlines()[-2:] == [
        f"{Path('out/runs').absolute() / SECOND}: stopped, saved.",
        "mbert sweep: the training ended with exit code 143",
    ]
    assert "$ mbert train" not in log_of(FIRST)


def test_a_killed_sweep_leaves_no_training_and_is_continued(plan, cluster, stand_ins):
    change_second(plan, f"training.learning_rate={stand_in.SLOW}")
    code = f"import stand_in, mbert_cli.ray.executor as executor; executor.train = stand_in.train_task; {MAIN}"
    words = ["sweep", "plan.yaml", "-o", "out", "--engine", "ray", "-j", "2"]
    sweep = subprocess.Popen([sys.executable, "-c", code, *words], env={**os.environ, "PYTHONPATH": PYTHON_PATH})
    run = RunFolder(Path("out", "runs", SECOND))
    try:
        wait_for(lambda: "waiting" in log_of(SECOND))
        commit_state(run, 0, 1, stand_in.write_text("progress"), 2)  # as a training does from time to time
    finally:
        sweep.kill()
        sweep.wait()
    wait_for(lambda: not in_use(run))
    mbert_sweep("-q", "-j", "2")
    assert "--resume" in log_of(SECOND)
    assert all(RunFolder(Path("out", "runs", name)).read_metrics() for name in (FIRST, SECOND))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "3"], "--jobs is 3, but the Ray cluster has 2 CPUs; use at most 2"),
        (["--device", "cuda"], "--device is 'cuda', but the Ray cluster has no GPU"),
        (["--device", "cuda:1"], "--device is 'cuda:1', but Ray chooses the GPU of each worker"),
        (["--precision", "fp12"], "--precision is 'fp12'"),
    ],
)
def test_a_sweep_that_the_cluster_has_no_room_for_is_refused(plan, words, message):
    with pytest.raises(UsageError, match=message):
        mbert_sweep(*words)
    assert not list(Path("out").glob("runs"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Failed to connect to 192.0.2.7:6379"), "Failed to connect to 192.0.2.7:6379"),
        (ray.exceptions.AuthenticationError("No authentication token was found"), "No authentication token was found"),
    ],
)
def test_a_cluster_that_does_not_answer_or_needs_a_token_is_reported(monkeypatch, error, reason):
    def init(**_):
        raise error

    monkeypatch.setattr(ray, "init", init)
    message = f"no Ray cluster answers at '192.0.2.7:6379' ({reason}); start one with"
    with pytest.raises(UsageError, match=re.escape(message)) as refused, connected("192.0.2.7:6379"):
        pass
    assert str(refused.value).endswith("A cluster with a token needs RAY_AUTH_MODE=token.")


def test_an_address_without_ray_is_refused(plan):
    with pytest.raises(UsageError, match="--address needs --engine ray"):
        mbert("sweep", "plan.yaml", "--address", "auto")


def test_a_machine_without_the_folder_of_the_sweep_is_reported(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    code, message = train(["train", str(tmp_path / "recipe.yaml")], 1, str(tmp_path / "log"))
    assert code == 2
    assert re.fullmatch(r".*recipe.yaml: does not exist on .*; put the sweep's folder \(-o\) on a disk .*", message)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_machine_without_mbert_is_reported(tmp_path, monkeypatch):
    module = ModuleType("not_there")
    exec("def train(*words): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "not_there", module)
    monkeypatch.setattr("mbert_cli.ray.executor.train", module.train)
    log = tmp_path / "log"
    with connected(None):
        assert RayExecutor(Workers(1, 1, 0)).start(["-o", str(tmp_path / "run")], 1, log).wait() == 1
    reason = "ModuleNotFoundError: No module named 'not_there'"
    assert log.read_text() == f"Ray cannot start the training: {reason}; install the same mbert on all machines\n"
