"""Trackers whose packages are not installed for tests: what mbert calls, with stand-ins for the packages."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from mbert_cli.tracking import TrackedRun
from mbert_cli.tracking.mlflow import MLflow
from mbert_cli.tracking.trackio import Trackio
from mbert_cli.tracking.wandb import WandB

VARIABLES = ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME",
             "MLFLOW_EXPERIMENT_ID", "TRACKIO_PROJECT", "TRACKIO_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL",
             "HF_HUB_OFFLINE")  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that makes the run; no variable of the environment is set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    settings = {"training.epochs": 3, "training.patience": None}

    def made(number=None):
        return TrackedRun("first", "ranks", tmp_path / "first", tmp_path, settings, "training: {epochs: 3}\n", number)

    return made


class Recorder:
    """Keeps the calls of its methods as (name, arguments, keywords)."""

    def __init__(self, answers=()):
        self.calls, self.answers = [], dict(answers)

    def __getattr__(self, name):
        def called(*words, **options):
            self.calls.append((name, words, options))
            return self.answers.get(name)

        return called

    def named(self, name):
        return [(words, options) for each, words, options in self.calls if each == name]


def install(monkeypatch, name, **members):
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.fixture
def wandb(monkeypatch):
    """The run of a stand-in for wandb; `init` has the arguments of `wandb.init`."""
    inits = []

    class Run(Recorder):
        summary = {}

    tracked = Run()

    def init(**options):
        inits.append(options)
        tracked.id = options["id"]
        return tracked

    tracked.inits = inits
    install(monkeypatch, "wandb", init=init, Settings=lambda **chosen: chosen)
    return tracked


def test_wandb_is_offline_by_default_and_continues_a_run_by_its_id(run, wandb):
    tracker = WandB()
    number = tracker.start(run())
    tracker.log({"overall": 0.5}, 3)
    tracker.end("stopped", {}, 3)
    resumed = WandB()
    assert resumed.start(run(number)) == number
    resumed.end("finished", {"kept/overall": 0.6}, 9)
    first, second = wandb.inits
    assert (first["mode"], first["project"], first["name"], first["group"]) == ("offline", "mbert", "first", "ranks")
    assert first["dir"] == str(run().folder)
    assert first["config"] == {**run().settings, "run_folder": str(run().path)}
    assert (second["id"], second["resume"]) == (number, "allow")
    assert wandb.named("log") == [(({"overall": 0.5},), {"step": 3, "commit": True})]
    assert wandb.named("finish") == [((), {"exit_code": 130}), ((), {"exit_code": 0})]
    assert wandb.summary == {"kept/overall": 0.6}


@pytest.mark.parametrize(("variables", "mode"), [({}, "online"), ({"HF_HUB_OFFLINE": "1"}, "offline")])
def test_wandb_uploads_only_if_the_user_asks_for_it_and_the_network_is_allowed(
    run, wandb, monkeypatch, variables, mode
):
    for name, value in {"WANDB_MODE": "online", **variables}.items():
        monkeypatch.setenv(name, value)
    WandB().start(run())
    assert wandb.inits[0]["mode"] == mode


@pytest.fixture
def mlflow(monkeypatch):
    """The client of a stand-in for mlflow."""
    info = SimpleNamespace(info=SimpleNamespace(run_id="abc"))
    client = Recorder({"create_run": info, "create_experiment": "7"})
    client.places = []
    install(monkeypatch, "mlflow", MlflowClient=lambda place: client.places.append(place) or client)
    install(monkeypatch, "mlflow.entities", Param=lambda *words: words, Metric=lambda *words: words)
    return client


def test_mlflow_writes_a_database_in_the_run_folder_and_continues_a_run_by_its_id(run, mlflow):
    tracker = MLflow()
    assert tracker.start(run()) == "abc"
    tracker.log({"overall": 0.5, "epoch": 1.0}, 3)
    tracker.end("finished", {"kept/overall": 0.5}, 3)
    MLflow().start(run("abc"))
    assert mlflow.places == [f"sqlite:///{run().folder}/mlflow.db"] * 2
    assert mlflow.named("create_experiment")[0][0] == ("mbert",)
    ((words, options),) = mlflow.named("create_run")
    assert words == ("7",)
    assert options["tags"] == {"mlflow.runName": "first", "run_folder": str(run().path), "group": "ranks"}
    params, points, kept = (options for _, options in mlflow.named("log_batch"))
    assert params == {"params": [("training.epochs", "3"), ("training.patience", "None")]}
    assert [(name, value, step) for name, value, _, step in points["metrics"]] == [
        ("overall", 0.5, 3),
        ("epoch", 1.0, 3),
    ]
    assert [(name, step) for name, _, _, step in kept["metrics"]] == [("kept/overall", 3)]
    assert mlflow.named("set_terminated") == [(("abc", "FINISHED"), {})]
    assert mlflow.named("update_run") == [(("abc",), {"status": "RUNNING"})]


def test_mlflow_refuses_a_server_if_the_run_is_offline(run, mlflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example.org")
    MLflow().start(run())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Exception, match="MLFLOW_TRACKING_URI is a server, but the run is offline"):
        MLflow().start(run())
    assert mlflow.places == ["https://tracking.example.org"]


def test_trackio_writes_to_the_run_folder_and_continues_a_run_by_its_name(run, monkeypatch):
    inits, tracked = [], Recorder()
    install(monkeypatch, "trackio", init=lambda *words, **options: inits.append((words, options)) or tracked)
    monkeypatch.setenv("TRACKIO_DIR", "")  # so that the variable is removed again
    monkeypatch.delenv("TRACKIO_DIR")
    tracker = Trackio()
    name = tracker.start(run())
    tracker.log({"overall": 0.5}, 3)
    tracker.end("finished", {"kept/overall": 0.5}, 3)
    assert Trackio().start(run(name)) == name
    (words, first), (_, second) = inits
    assert words == ("mbert",)
    assert first["name"].startswith("first-")
    assert (second["name"], second["resume"]) == (name, "allow")
    assert tracked.named("log") == [(({"overall": 0.5},), {"step": 3}), (({"kept/overall": 0.5},), {"step": 3})]
    assert len(tracked.named("finish")) == 1


def test_trackio_refuses_a_server_if_the_run_is_offline(run, monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/runs")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Exception, match="TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names a server, but the run is off"):
        Trackio().start(run())
